"""Sequential and Functional models: each Quant layer is replaced in the graph of its user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_int8nmt.conversion.layers import (
    attention_matmuls,
    convert_attention,
    convert_dense,
    convert_embedding,
)
from keras_int8nmt.conversion.policy import Assignment, MatMul
from keras_int8nmt.conversion.report import MatMulRow
from keras_int8nmt.layers.int8_gather import Int8Gather
from keras_int8nmt.layers.model_state import observers
from keras_int8nmt.layers.quant_attention import QuantAttention
from keras_int8nmt.layers.quant_dense import QuantDense

Converted = tuple[keras.layers.Layer, list[MatMulRow]]

# A new layer joins here.
_CONVERTERS: dict[type, Callable[[Any, Assignment], Converted]] = {
    QuantDense: convert_dense,
    QuantAttention: convert_attention,
    Int8Gather: convert_embedding,
}


def graph_matmuls(model: keras.Model) -> list[MatMul]:
    """Every MatMul of a Sequential or Functional model, those included that can only stay float."""
    found: list[MatMul] = []
    sparse = _after_relu(model)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found.extend(graph_matmuls(layer))
        elif not _is_convertible(layer):
            found.extend(_float_matmuls(layer))
        elif isinstance(layer, QuantDense):
            found.append(MatMul(layer.path, sparse=layer in sparse))
        elif isinstance(layer, QuantAttention):
            found.extend(attention_matmuls(layer))
    return found


def convert_graph(
    model: keras.Model, assignment: Assignment
) -> tuple[keras.Model, list[MatMulRow]]:
    """The converted model and the report's rows; the calibrated model is only read."""
    rows: list[MatMulRow] = []
    copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def convert_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        if _is_convertible(layer):
            new, new_rows = _CONVERTERS[type(layer)](layer, assignment)
            rows.extend(new_rows)
            return new
        if isinstance(layer, keras.Model):
            new, new_rows = convert_graph(layer, assignment)
            rows.extend(new_rows)
            return new
        copy = layer.__class__.from_config(layer.get_config())
        # Masks are in the graph as plain operations, without weights.
        if isinstance(layer, keras.layers.Layer):
            for matmul in _float_matmuls(layer):
                rows.append(MatMulRow(matmul.name, matmul.kind, "float32", matmul.float_reason))
            copies.append((layer, copy))
        return copy

    converted = keras.models.clone_model(model, clone_function=convert_layer)
    for layer, copy in copies:
        if isinstance(layer, keras.layers.Layer):
            # Thresholds that train, in layers that INT8 does not take, are weights like others.
            new = {observer.name: observer for _, observer in observers(copy)}
            for _, given in observers(layer):
                if given.learned.log2_growth is not None:
                    new[given.name].learned.start()
        copy.set_weights(layer.get_weights())
    return converted, rows


def _is_convertible(layer: Any) -> bool:
    return type(layer) in _CONVERTERS and not layer.unsupported_reasons()


def _float_matmuls(layer: keras.layers.Layer) -> list[MatMul]:
    """What can only stay float: a layer with a kernel that INT8 does not take, and why."""
    reasons = layer.unsupported_reasons() if type(layer) in _CONVERTERS else []
    if not reasons:
        if not hasattr(layer, "kernel") and not observers(layer):
            return []
        reasons = [f"{type(layer).__name__} has no INT8 form"]
    return [MatMul(layer.path, float_reason="; ".join(reasons))]


def _after_relu(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers whose input comes straight out of a ReLU."""
    rectified = [
        layer.output
        for layer in model.layers
        if isinstance(layer, keras.layers.ReLU)
        or getattr(layer, "activation", None) is keras.activations.relu
    ]
    return [layer for layer in model.layers if any(layer.input is x for x in rectified)]
