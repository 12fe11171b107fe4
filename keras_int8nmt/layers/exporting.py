"""Calibrated models for other runtimes: ranges as fake quantization that converters know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from keras_int8nmt.layers.model_state import observers, without_thresholds
from keras_int8nmt.layers.observing.branches import always_taken
from keras_int8nmt.thresholds.errors import NotCalibratedError


@contextmanager
def ranges_in_exports(model: keras.Model) -> Iterator[None]:
    """Inside, `model.export` writes what INT8 would compute, with calibrated ranges as constants.

    A calibrated model chooses by a variable whether it observes, simulates or does neither, which
    the converters of ONNX and LiteRT can't read. Inside, its graph simulates and nothing else:
    activations pass TensorFlow's `FakeQuantWithMinMaxArgs`, of which ONNX makes `QuantizeLinear`,
    and weights are rounded to int8 with a scale for each output channel. Outputs are those of
    `simulate(model)`. The model itself is not changed. LiteRT's converter reads the ranges, too;
    its interpreter refuses files in which it left weights float, as it does small ones.

    What `convert` makes can't be exported so: its operations are this package's own.

    Args:
        model: A calibrated model, on the TensorFlow back end.

    Raises:
        NotCalibratedError: naming the observers that have no thresholds.
        ValueError: on another back end, or for a model without observers.

    Example:

        >>> with ranges_in_exports(model):
        ...     model.export("model.onnx", format="onnx")
    """
    if keras.config.backend() != "tensorflow":
        raise ValueError("Exports with ranges need the TensorFlow back end of Keras.")
    found = [observer for _, observer in observers(model)]
    if not found:
        raise ValueError(f"{model.name!r} has no observers, and so no calibrated ranges to export.")
    missing = without_thresholds(model)
    if missing:
        raise NotCalibratedError(missing)
    try:
        for observer in found:
            observer.constant = observer.params() if observer.is_calibrated else None
        with always_taken():
            yield
    finally:
        for observer in found:
            observer.constant = None
