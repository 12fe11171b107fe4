"""One calibrated Quant layer in, one Int8 layer and its report rows out."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_int8nmt.calibration.threshold import clipped_mass, sqnr_db
from keras_int8nmt.conversion_report import MatMulRow
from keras_int8nmt.layers.int8_attention import Int8Attention
from keras_int8nmt.layers.int8_dense import Int8Dense
from keras_int8nmt.layers.int8_embedding import Int8Embedding
from keras_int8nmt.layers.observer import Observer
from keras_int8nmt.layers.residual_norm import ResidualNorm
from keras_int8nmt.quantization import QuantParams


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


def report_row(name: str, kind: str, observers: list[Observer]) -> MatMulRow:
    """The INT8 row of a product whose quantized sides `observers` watched."""
    histograms = [o.to_histogram() for o in observers]
    thresholds = [tuple(float(t) for t in o.thresholds()) for o in observers]
    pairs = list(zip(histograms, thresholds, strict=True))
    return MatMulRow(
        name=name,
        kind=kind,
        precision="int8",
        thresholds=tuple(t for pair in thresholds for t in pair),
        input_sqnr_db=float(
            min(sqnr_db(h, o.params()) for h, o in zip(histograms, observers, strict=True))
        ),
        clipped_mass=float(max(clipped_mass(h, low, high) for h, (low, high) in pairs)),
    )


def convert_dense(
    layer: Any, *, output_params: QuantParams | None = None
) -> tuple[Int8Dense, list[MatMulRow]]:
    """`QuantDense` to `Int8Dense`; integer output when the only reader wants `output_params`."""
    int8 = Int8Dense.from_kernel(
        array(layer.kernel),
        optional_array(layer.bias),
        layer.activation,
        input_params=layer.input_observer.params(),
        output_params=output_params,
        name=layer.name,
    )
    return int8, [report_row(layer.path, "weights", [layer.input_observer])]


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


def convert_attention(layer: Any) -> tuple[Int8Attention, list[MatMulRow]]:
    """`QuantAttention` to `Int8Attention`, every product in INT8."""
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
    int8 = Int8Attention.from_kernels(
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
        name=layer.name,
    )
    rows = []
    for group, observer in inputs.items():
        for name in group.split("_"):
            rows.append(report_row(f"{layer.path}/{name}", "weights", [observer]))
    rows.append(report_row(f"{layer.path}/QK", "dynamic", [layer.query, layer.key]))
    # The probabilities have the fixed scale 255 and nothing of them is clipped.
    rows.append(report_row(f"{layer.path}/AV", "dynamic", [layer.value]))
    rows.append(report_row(f"{layer.path}/attention_output", "weights", [layer.context]))
    return int8, rows


def convert_embedding(layer: Any) -> tuple[Int8Embedding, list[MatMulRow]]:
    """`Int8Gather` to `Int8Embedding`; a gather is no MatMul and has no row."""
    int8 = Int8Embedding.from_table(
        array(layer.embeddings), mask_zero=layer.mask_zero, name=layer.name
    )
    return int8, []


def convert_norm(layer: Any, carry: str, output_params: QuantParams | None) -> ResidualNorm:
    """`keras.layers.LayerNormalization` and the sum before it, fused with the quantization."""
    return ResidualNorm.from_weights(
        array(layer.gamma),
        array(layer.beta),
        carry=carry,
        epsilon=layer.epsilon,
        output_params=output_params,
        name=layer.name,
    )
