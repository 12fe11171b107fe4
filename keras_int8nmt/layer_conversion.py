"""One calibrated Quant layer in, one converted layer and its report rows out."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_int8nmt.calibration.threshold import clipped_mass, sqnr_db
from keras_int8nmt.conversion_policy import Assignment, MatMul
from keras_int8nmt.conversion_report import MatMulRow
from keras_int8nmt.layers.float_dense import FloatDense
from keras_int8nmt.layers.float_embedding import FloatEmbedding
from keras_int8nmt.layers.frozen_attention import MATMULS
from keras_int8nmt.layers.int8_attention import Int8Attention
from keras_int8nmt.layers.int8_dense import Int8Dense
from keras_int8nmt.layers.int8_embedding import Int8Embedding
from keras_int8nmt.layers.mixed_attention import MixedAttention
from keras_int8nmt.layers.observer import Observer
from keras_int8nmt.layers.residual_norm import ResidualNorm
from keras_int8nmt.quantization import QuantParams

# What a converter is told of precision unless `convert` says otherwise.
ALL_INT8 = Assignment()


def array(variable: Any) -> np.ndarray:
    """The value of a Keras variable as NumPy."""
    return np.asarray(variable.numpy())


def optional_array(variable: Any) -> np.ndarray | None:
    """Likewise, or None for None: a bias that is not there."""
    return None if variable is None else array(variable)


def observed(observer: Observer, stand_in: Observer | None = None) -> Observer:
    """`observer`, or `stand_in` where the layer was called with one tensor for both."""
    if stand_in is not None and not observer.is_calibrated:
        return stand_in
    return observer


def report_row(
    name: str, kind: str, observers: list[Observer], assignment: Assignment
) -> MatMulRow:
    """The row of a product; of an INT8 one with figures of what its sides, `observers`, saw."""
    precision, reason = assignment[name].precision, assignment[name].reason
    if precision == "float32":
        return MatMulRow(name, kind, precision, reason)
    histograms = [o.to_histogram() for o in observers]
    thresholds = [tuple(float(t) for t in o.thresholds()) for o in observers]
    pairs = list(zip(histograms, thresholds, strict=True))
    return MatMulRow(
        name=name,
        kind=kind,
        precision=precision,
        reason=reason,
        thresholds=tuple(t for pair in thresholds for t in pair),
        input_sqnr_db=float(
            min(sqnr_db(h, o.params()) for h, o in zip(histograms, observers, strict=True))
        ),
        clipped_mass=float(max(clipped_mass(h, low, high) for h, (low, high) in pairs)),
    )


def dense_layer(
    kernel: np.ndarray,
    bias: np.ndarray | None,
    activation: Any,
    *,
    int8: bool,
    input_params: QuantParams,
    output_params: QuantParams | None = None,
    name: str,
) -> Int8Dense | FloatDense:
    """A frozen dense layer of float weights `[k, n]`."""
    if int8:
        return Int8Dense.from_kernel(
            kernel,
            bias,
            activation,
            input_params=input_params,
            output_params=output_params,
            name=name,
        )
    return FloatDense.from_kernel(kernel, bias, activation, output_params=output_params, name=name)


def convert_dense(
    layer: Any,
    assignment: Assignment = ALL_INT8,
    *,
    output_params: QuantParams | None = None,
) -> tuple[Int8Dense | FloatDense, list[MatMulRow]]:
    """`QuantDense` to a frozen layer; integer output when the only reader wants `output_params`."""
    dense = dense_layer(
        array(layer.kernel),
        optional_array(layer.bias),
        layer.activation,
        int8=assignment.is_int8(layer.path),
        input_params=layer.input_observer.params(),
        output_params=output_params,
        name=layer.name,
    )
    return dense, [report_row(layer.path, "weights", [layer.input_observer], assignment)]


def attention_inputs(layer: Any) -> dict[str, Observer]:
    """The observer of each projection group's input: which projections read the same tensor."""
    query = layer.query_input
    value = observed(layer.value_input, query)
    key = observed(layer.key_input, value)
    if key is value is query:
        return {"query_key_value": query}
    if key is value:
        return {"query": query, "key_value": value}
    return {"query": query, "key": key, "value": value}


def attention_matmuls(layer: Any) -> list[MatMul]:
    """The MatMuls of a `QuantAttention`, in the order of the report."""
    kinds = {"QK": "dynamic", "AV": "dynamic"}
    projections = [name for group in attention_inputs(layer) for name in group.split("_")]
    return [
        MatMul(f"{layer.path}/{part}", kinds.get(part, "weights"))
        for part in (*projections, "QK", "AV", "attention_output")
    ]


def convert_attention(
    layer: Any, assignment: Assignment = ALL_INT8
) -> tuple[Int8Attention | MixedAttention, list[MatMulRow]]:
    """`QuantAttention` to `Int8Attention`, or to `MixedAttention` where a product stays float."""
    inputs = attention_inputs(layer)
    heads = {"query": layer.query, "key": layer.key, "value": layer.value}
    projections = {"query": layer.query_dense, "key": layer.key_dense, "value": layer.value_dense}
    kernels = {}
    for name, dense in projections.items():
        kernel = array(dense.kernel)
        bias = optional_array(dense.bias)
        kernels[name] = (
            kernel.reshape(kernel.shape[0], -1),
            None if bias is None else bias.reshape(-1),
        )
    output_kernel = array(layer.output_dense.kernel)
    precision = {part: assignment[f"{layer.path}/{part}"].precision for part in MATMULS}
    mixed = "float32" in precision.values()
    attention_class: Any = MixedAttention if mixed else Int8Attention
    attention = attention_class.from_kernels(
        kernels,
        (
            output_kernel.reshape(-1, output_kernel.shape[-1]),
            optional_array(layer.output_dense.bias),
        ),
        num_heads=layer.num_heads,
        key_dim=layer.key_dim,
        value_dim=layer.value_dim,
        input_params={group: o.params() for group, o in inputs.items()},
        head_params={name: o.params() for name, o in heads.items()},
        context_params=layer.context.params(),
        softmax=assignment.options.softmax,
        name=layer.name,
        **({"precision": precision} if mixed else {}),
    )
    seen = {name: [o] for group, o in inputs.items() for name in group.split("_")}
    # The probabilities have the fixed scale 255 and nothing of them is clipped.
    seen.update(QK=[layer.query, layer.key], AV=[layer.value], attention_output=[layer.context])
    rows = [
        report_row(m.name, m.kind, seen[m.name.rpartition("/")[2]], assignment)
        for m in attention_matmuls(layer)
    ]
    return attention, rows


def convert_embedding(
    layer: Any, assignment: Assignment = ALL_INT8
) -> tuple[Int8Embedding | FloatEmbedding, list[MatMulRow]]:
    """`Int8Gather` to a frozen table; a gather is no MatMul and has no row.

    The table is INT8 unless the model has no INT8 at all.
    """
    embedding: Any = FloatEmbedding if assignment.all_float else Int8Embedding
    table = array(layer.embeddings)
    return embedding.from_table(table, mask_zero=layer.mask_zero, name=layer.name), []


def convert_norm(
    layer: Any,
    carry: str,
    output_params: QuantParams | None,
    assignment: Assignment = ALL_INT8,
) -> ResidualNorm:
    """`keras.layers.LayerNormalization` and the sum before it, fused with the quantization."""
    return ResidualNorm.from_weights(
        array(layer.gamma),
        array(layer.beta),
        carry=carry,
        epsilon=layer.epsilon,
        arithmetic=assignment.options.layer_norm,
        output_params=output_params,
        name=layer.name,
    )
