"""Sequential and Functional models: each Quant layer is replaced in the graph of its user."""

from __future__ import annotations

from typing import Any

import keras

from keras_int8nmt.conversion.copying import copied, copy_weights, is_graph, rebuilt
from keras_int8nmt.conversion.errors import ConversionError
from keras_int8nmt.conversion.layers import report_row
from keras_int8nmt.conversion.policy import Assignment, ListedMatMul
from keras_int8nmt.conversion.report import MatMulRow
from keras_int8nmt.conversion.table import converter_of, float_reasons
from keras_int8nmt.layers.matmuls import MatMul
from keras_int8nmt.layers.model_state import layers_of, observers, quant_layers
from keras_int8nmt.layers.quant_layer import QuantLayer


def graph_matmuls(model: keras.Model) -> list[ListedMatMul]:
    """Every MatMul of a Sequential or Functional model, those included that can only stay float."""
    found: list[ListedMatMul] = []
    sparse = _after_relu(model)
    for layer in model.layers:
        if _is_nested(layer):
            found.extend(graph_matmuls(layer))
        elif converter_of(layer) is None:
            found.extend(_float_matmuls(layer))
        else:
            after_relu = any(layer is other for other in sparse)
            found.extend(
                ListedMatMul(m.name, m.kind, sparse=after_relu and m.of_input)
                for m in layer.matmuls()
            )
    return found


def convert_graph(
    model: keras.Model, assignment: Assignment
) -> tuple[keras.Model, list[MatMulRow]]:
    """The converted model and the report's rows; the calibrated model is only read."""
    rows: list[MatMulRow] = []
    copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def convert_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        converter = converter_of(layer)
        if converter is not None:
            rows.extend(report_row(matmul, assignment) for matmul in layer.matmuls())
            return converter(layer, assignment)
        if _is_nested(layer):
            new, new_rows = convert_graph(layer, assignment)
            rows.extend(new_rows)
            return new
        copy = copied(layer)
        # Masks are in the graph as plain operations, without weights.
        if isinstance(layer, keras.layers.Layer):
            for matmul in _float_matmuls(layer):
                rows.append(MatMulRow(matmul.name, matmul.kind, "float32", matmul.float_reason))
            copies.append((layer, copy))
        return copy

    converted = rebuilt(model, convert_layer)
    for layer, copy in copies:
        copy_weights(layer, copy)
    return converted, rows


def graph_products(model: keras.Model) -> list[MatMul]:
    """What `convert_graph` can make INT8, for measuring it."""
    found: list[MatMul] = []
    for layer in model.layers:
        if _is_nested(layer):
            found.extend(graph_products(layer))
        elif converter_of(layer) is not None:
            found.extend(layer.matmuls())
    return found


def _is_nested(layer: Any) -> bool:
    """Whether `layer` is a model whose own layers are replaced.

    Raises:
        ConversionError: for a model with layers to replace whose `call` nobody can rebuild.
    """
    if not isinstance(layer, keras.Model):
        return False
    if is_graph(layer):
        return True
    if quant_layers(layer):
        raise ConversionError(
            f"Model {layer.name!r} is a {type(layer).__name__} inside a Sequential or Functional "
            "model; its `call` can't be rebuilt from its layers."
        )
    return False


def _float_matmuls(layer: keras.layers.Layer) -> list[ListedMatMul]:
    """What can only stay float: a layer with a kernel, its own or one inside, and why."""
    reasons = float_reasons(layer)
    if not reasons:
        if not isinstance(layer, keras.layers.Layer):
            return []
        multiplies = isinstance(layer, QuantLayer) and bool(layer.matmuls())
        kernels = any(hasattr(part, "kernel") for part in layers_of(layer))
        if not (multiplies or kernels or observers(layer)):
            return []
        reasons = [f"{type(layer).__name__} has no INT8 form"]
    return [ListedMatMul(layer.path, float_reason="; ".join(reasons))]


def _after_relu(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers whose input comes straight out of a ReLU."""
    rectified = [
        layer.output
        for layer in model.layers
        if isinstance(layer, keras.layers.ReLU)
        or getattr(layer, "activation", None) is keras.activations.relu
    ]
    return [layer for layer in model.layers if any(layer.input is x for x in rectified)]
