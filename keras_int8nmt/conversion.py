"""`convert`: a calibrated model in, a new INT8 model and a report out; the old one is only read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_int8nmt.calibration import observers
from keras_int8nmt.conversion_report import ConversionReport, MatMulRow
from keras_int8nmt.layer_conversion import convert_attention, convert_dense, convert_embedding
from keras_int8nmt.layers.int8_gather import Int8Gather
from keras_int8nmt.layers.quant_attention import QuantAttention
from keras_int8nmt.layers.quant_dense import QuantDense
from keras_int8nmt.output_sqnr import measure_output_sqnr
from keras_int8nmt.transformer import Transformer
from keras_int8nmt.transformer_conversion import convert_transformer

Converted = tuple[keras.layers.Layer, list[MatMulRow]]

# A new layer joins here.
_CONVERTERS: dict[type, Callable[[Any], Converted]] = {
    QuantDense: convert_dense,
    QuantAttention: convert_attention,
    Int8Gather: convert_embedding,
}


class ConversionError(ValueError):
    """The model can't be converted; the message names the layers and what they lack."""


def convert(model: keras.Model, *, sample: Any = None) -> keras.Model:
    """Makes the INT8 inference model of a calibrated model.

    Weights become int8 with one scale per output channel, zero points go into the biases, and
    layers that feed each other exchange codes. Softmax, LayerNorm and the logits stay float32.

    Args:
        model: A calibrated model: a `Transformer` from `build_transformer` or `load_marian`, or a
            Sequential or Functional model with `QuantDense`, `QuantAttention` and `Int8Gather`
            layers. It is not changed.
        sample: Optional inputs of one batch. With it the report tells the output SQNR of each
            MatMul.

    Returns:
        A new model with the report as `model.conversion_report` (`ConversionReport`): each MatMul,
        INT8 or float and why, with thresholds, SQNR and clipped mass.

    Raises:
        ConversionError: when a layer was not calibrated (its path is named), when there is nothing
            to convert, or when the model is of a kind that can't be rebuilt.

    Example:

        >>> model.predict(batches, callbacks=[CalibrationCallback(mode="symmetric")])
        >>> int8 = convert(model)
        >>> print(int8.conversion_report.to_text())
    """
    _require_calibrated(model)
    if isinstance(model, Transformer):
        int8, rows = convert_transformer(model)
    elif isinstance(model, keras.Sequential) or _is_functional(model):
        int8, rows = _convert_graph(model)
    else:
        raise ConversionError(
            f"convert() rebuilds Transformer, Sequential and Functional models; {model.name!r} is "
            f"a {type(model).__name__}, whose `call` can't be rebuilt from its layers."
        )
    if not any(row.precision == "int8" for row in rows):
        raise ConversionError(
            f"Model {model.name!r} has no layer to convert: build it with quant=True, or use "
            "QuantDense, QuantAttention and Int8Gather."
        )
    if sample is not None:
        rows = measure_output_sqnr(model, sample, rows)
    int8.conversion_report = ConversionReport(rows)
    return int8


def _is_functional(model: keras.Model) -> bool:
    # keras.Functional has no public name: take the class from a model that is one.
    probe = keras.Input((1,))
    return isinstance(model, type(keras.Model(inputs=probe, outputs=probe)))


def _require_calibrated(model: keras.Model) -> None:
    missing = []
    for path, observer in observers(model):
        optional = observer.name in ("key_input", "value_input")
        if not observer.is_calibrated and not optional:
            missing.append(path)
    if missing:
        listed = "\n  ".join(missing)
        raise ConversionError(
            f"{len(missing)} observers of model {model.name!r} have no thresholds; calibrate first "
            f"(CalibrationCallback with evaluate or predict):\n  {listed}"
        )


def _convert_graph(model: keras.Model) -> tuple[keras.Model, list[MatMulRow]]:
    rows: list[MatMulRow] = []
    copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def convert_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        converter = _CONVERTERS.get(type(layer))
        reasons = layer.unsupported_reasons() if converter is not None else []
        if converter is not None and not reasons:
            new, new_rows = converter(layer)
            rows.extend(new_rows)
            return new
        if isinstance(layer, keras.Model):
            new, new_rows = _convert_graph(layer)
            rows.extend(new_rows)
            return new
        copy = layer.__class__.from_config(layer.get_config())
        # Masks are in the graph as plain operations, without weights.
        if isinstance(layer, keras.layers.Layer):
            rows.extend(_float_rows(layer, reasons))
            copies.append((layer, copy))
        return copy

    int8 = keras.models.clone_model(model, clone_function=convert_layer)
    for layer, copy in copies:
        copy.set_weights(layer.get_weights())
    return int8, rows


def _float_rows(layer: keras.layers.Layer, reasons: list[str]) -> list[MatMulRow]:
    """Rows for what stays float: a layer with a kernel that INT8 does not take, and why."""
    if not reasons:
        if not hasattr(layer, "kernel") and not observers(layer):
            return []
        reasons = [f"{type(layer).__name__} has no INT8 form"]
    return [MatMulRow(layer.path, "weights", "float32", "; ".join(reasons))]
