"""Calibrated models for other runtimes: ranges as fake quantization that converters know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras

from keras_int8nmt.layers.model_state import observers, without_thresholds
from keras_int8nmt.layers.observing.branches import always_taken
from keras_int8nmt.layers.observing.exported import (
    Product,
    ProductKey,
    ProductsFound,
    RangesWritten,
    litert_form,
)
from keras_int8nmt.quantization import QuantParams, params_from_thresholds
from keras_int8nmt.thresholds.errors import NotCalibratedError

_FORMATS = ("onnx", "litert")


@contextmanager
def ranges_in_exports(
    model: keras.Model, format: str = "onnx", *, sample: Any = None
) -> Iterator[None]:
    """Inside, `model.export` writes what INT8 would compute, with calibrated ranges as constants.

    A calibrated model chooses by a variable whether it observes, simulates or does neither, which
    the converters of ONNX and LiteRT can't read. Inside, its graph simulates and nothing else:
    activations pass TensorFlow's `FakeQuantWithMinMaxArgs`, of which ONNX makes `QuantizeLinear`
    and LiteRT the ranges of its tensors, and weights are rounded to int8 with a scale for each
    output channel. The model itself is not changed.

    With ONNX outputs are those of `simulate(model)`. LiteRT also gives the outputs of products one
    byte: the range of each is that of its values for `sample`, where it is not that of the
    observer which alone reads it. Of embeddings LiteRT has int8 rows with a scale for each.

    What `convert` makes can't be exported so: its operations are this package's own.

    Args:
        model: A calibrated model, on the TensorFlow back end.
        format: "onnx" or "litert": what the export inside is for.
        sample: For LiteRT, which needs it: a batch of inputs as the model takes them; some of those
            that it was calibrated with will do.

    Raises:
        NotCalibratedError: naming the observers that have no thresholds.
        ValueError: on another back end, for a model without observers, for another format or a
            sample that does not fit it; naming the layers whose outputs for the sample were not
            finite, or in a loop or branch of the graph, where LiteRT can't be given their range.
            In the export itself, naming a layer that the sample did not reach.

    Example:

        >>> with ranges_in_exports(model):
        ...     model.export("model.onnx", format="onnx")
        >>> with ranges_in_exports(model, "litert", sample=batch):
        ...     model.export(
        ...         "model.tflite", format="litert", optimizations=[tf.lite.Optimize.DEFAULT]
        ...     )
    """
    if keras.config.backend() != "tensorflow":
        raise ValueError("Exports with ranges need the TensorFlow back end of Keras.")
    if format not in _FORMATS:
        raise ValueError(f"`format` must be one of {', '.join(_FORMATS)}; it is {format!r}.")
    if (sample is None) == (format == "litert"):
        raise ValueError(
            "`sample`, a batch of inputs, is for format='litert', which can't do without: LiteRT "
            "multiplies in INT8 only what has a range for its output, and observers watch inputs."
        )
    found = [observer for _, observer in observers(model)]
    if not found:
        raise ValueError(f"{model.name!r} has no observers, and so no calibrated ranges to export.")
    missing = without_thresholds(model)
    if missing:
        raise NotCalibratedError(missing)
    try:
        for observer in found:
            observer.constant = observer.params() if observer.is_calibrated else None
        with always_taken(), _form(model, sample):
            yield
    finally:
        for observer in found:
            observer.constant = None


def _form(model: keras.Model, sample: Any) -> Any:
    if sample is None:
        return nullcontext()
    return litert_form(RangesWritten(_ranges_of_outputs(model, sample)))


def _ranges_of_outputs(model: keras.Model, sample: Any) -> dict[ProductKey, QuantParams | None]:
    """The range of each product's output for a sample, None where its reader gives one."""
    # TensorFlow's, where nothing else is imported of it.
    from keras_int8nmt.ops.product_ranges import OutputRange, output_ranges

    form = ProductsFound()

    def call(inputs: Any) -> tuple[Any, list[Any]]:
        with litert_form(form):
            outputs = model(inputs, training=False)
        return outputs, [product.output for product in form.products]

    ranges = output_ranges(call, sample)
    inside = {p.name for p, found in zip(form.products, ranges, strict=True) if found is None}
    if inside:
        raise ValueError(
            "LiteRT's converter takes no range of what a loop or branch of the graph computes: "
            f"{', '.join(sorted(inside))}. Unroll the loop (`unroll=True`), or leave these plain."
        )
    by_product: dict[ProductKey, list[tuple[Product, OutputRange]]] = {}
    for product, found in zip(form.products, ranges, strict=True):
        assert found is not None
        by_product.setdefault(product.key, []).append((product, found))
    return {key: _params(several) for key, several in by_product.items()}


def _params(several: list[tuple[Product, Any]]) -> QuantParams | None:
    """Of a product, for all its calls."""
    product, _ = several[0]
    if all(found.is_given_by_reader for _, found in several):
        return None
    low = min(found.minimum for _, found in several)
    high = max(found.maximum for _, found in several)
    try:
        return params_from_thresholds(low, high, symmetric=False)
    except ValueError:
        raise ValueError(
            f"The output of {product.name!r} for `sample` has no finite range: {low} to {high}."
        ) from None
