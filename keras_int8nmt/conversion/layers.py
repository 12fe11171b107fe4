"""One calibrated Quant layer in, one converted layer and its report rows out."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_int8nmt.conversion.bias_correction import corrected_bias
from keras_int8nmt.conversion.policy import Assignment, MatMul
from keras_int8nmt.conversion.report import MatMulRow
from keras_int8nmt.layers.inference.dynamic_attention import DynamicAttention
from keras_int8nmt.layers.inference.dynamic_dense import DynamicDense
from keras_int8nmt.layers.inference.dynamic_matmul import Weights
from keras_int8nmt.layers.inference.float_dense import FloatDense
from keras_int8nmt.layers.inference.float_embedding import FloatEmbedding
from keras_int8nmt.layers.inference.int8_attention import Int8Attention
from keras_int8nmt.layers.inference.int8_dense import Int8Dense
from keras_int8nmt.layers.inference.int8_embedding import Int8Embedding
from keras_int8nmt.layers.inference.mixed_attention import MixedAttention
from keras_int8nmt.layers.inference.residual_norm import ResidualNorm
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.layers.projections import MATMULS, PROJECTIONS
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.thresholds.distribution import clipped_mass, sqnr_db

Dense = Int8Dense | DynamicDense | FloatDense

# What a converter is told of precision unless `convert` says otherwise.
ALL_INT8 = Assignment()


def array(variable: Any) -> np.ndarray:
    """The value of a Keras variable as NumPy."""
    return np.asarray(variable.numpy())


def product_bias(
    kernel: np.ndarray, bias: Any, observers: list[Observer], name: str, assignment: Assignment
) -> np.ndarray | None:
    """The bias of the product `name` of `[k, n]` weights, corrected where that is asked for."""
    given = None if bias is None else array(bias).reshape(-1)
    options = assignment.options
    if not (options.bias_correction and assignment.is_int8(name)):
        return given
    means = observers[0].channel_statistics.means()
    return corrected_bias(kernel, given, means, **options.weight_rule)


def observed(observer: Observer, stand_in: Observer | None = None) -> Observer:
    """`observer`, or `stand_in` where the layer was called with one tensor for both."""
    if stand_in is not None and not observer.is_calibrated:
        return stand_in
    return observer


def report_row(
    name: str, kind: str, observers: list[Observer], assignment: Assignment
) -> MatMulRow:
    """The row of a product; of an INT8 one with figures of what its sides, `observers`, saw.

    They are not looked at where scales are dynamic.
    """
    precision, reason = assignment[name].precision, assignment[name].reason
    if precision == "float32":
        return MatMulRow(name, kind, precision, reason)
    if assignment.options.dynamic:
        return MatMulRow(name, kind, precision, "; ".join(filter(None, [reason, "dynamic scales"])))
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
    assignment: Assignment,
    *,
    path: str,
    input_params: QuantParams | None,
    output_params: QuantParams | None = None,
    name: str,
) -> Dense:
    """A frozen dense layer of float weights `[k, n]`; `path` is its name in the report.

    Without `input_params` scales are dynamic.
    """
    int8, rule = assignment.is_int8(path), assignment.options.weight_rule
    if int8 and input_params is None:
        return DynamicDense.from_kernel(kernel, bias, activation, name=name, **rule)
    if int8:
        return Int8Dense.from_kernel(
            kernel,
            bias,
            activation,
            input_params=input_params,
            output_params=output_params,
            name=name,
            **rule,
        )
    return FloatDense.from_kernel(kernel, bias, activation, output_params=output_params, name=name)


def convert_dense(
    layer: Any,
    assignment: Assignment = ALL_INT8,
    *,
    output_params: QuantParams | None = None,
) -> tuple[Dense, list[MatMulRow]]:
    """`QuantDense` to a frozen layer; integer output when the only reader wants `output_params`.

    With dynamic scales a plain `keras.layers.Dense` too.
    """
    observers = [] if assignment.options.dynamic else [layer.input_observer]
    kernel = array(layer.kernel)
    dense = dense_layer(
        kernel,
        product_bias(kernel, layer.bias, observers, layer.path, assignment),
        layer.activation,
        assignment,
        path=layer.path,
        input_params=observers[0].params() if observers else None,
        output_params=output_params,
        name=layer.name,
    )
    return dense, [report_row(layer.path, "weights", observers, assignment)]


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
    return [MatMul(f"{layer.path}/{part}", kinds.get(part, "weights")) for part in MATMULS]


def _attention_weights(
    layer: Any, seen: dict[str, list[Observer]], assignment: Assignment
) -> tuple[dict[str, Weights], Weights]:
    """Kernels `[k, n]` and biases of the projections by name, and of the output projection.

    `seen`: the observers of the input of each.
    """

    def weights(name: str, dense: Any, summed: int) -> Weights:
        kernel = array(dense.kernel)
        kernel = kernel.reshape(int(np.prod(kernel.shape[:summed])), -1)
        path = f"{layer.path}/{name}"
        return kernel, product_bias(kernel, dense.bias, seen.get(name, []), path, assignment)

    projections = {"query": layer.query_dense, "key": layer.key_dense, "value": layer.value_dense}
    kernels = {name: weights(name, dense, 1) for name, dense in projections.items()}
    return kernels, weights("attention_output", layer.output_dense, 2)


def convert_attention(
    layer: Any, assignment: Assignment = ALL_INT8, inputs: tuple[str, ...] = PROJECTIONS
) -> tuple[Int8Attention | MixedAttention | DynamicAttention, list[MatMulRow]]:
    """`QuantAttention` to `Int8Attention`, or to `MixedAttention` where a product stays float.

    With dynamic scales to `DynamicAttention`, and a plain `keras.layers.MultiHeadAttention` too;
    `inputs` tells which projections read the same tensor, where no calibration has seen it.
    """
    precision = {part: assignment[f"{layer.path}/{part}"].precision for part in MATMULS}
    sizes = {name: getattr(layer, name) for name in ("num_heads", "key_dim", "value_dim", "name")}
    rule = assignment.options.weight_rule
    seen: dict[str, list[Observer]] = {}
    attention: Any
    if assignment.options.dynamic:
        kernels, output = _attention_weights(layer, seen, assignment)
        attention = DynamicAttention.from_kernels(
            kernels,
            output,
            inputs=inputs,
            precision=precision,
            **sizes,
            **rule,
        )
    else:
        mixed = "float32" in precision.values()
        observers = attention_inputs(layer)
        heads = {"query": layer.query, "key": layer.key, "value": layer.value}
        seen = {name: [o] for group, o in observers.items() for name in group.split("_")}
        # The probabilities have the fixed scale 255 and nothing of them is clipped.
        seen.update(QK=[layer.query, layer.key], AV=[layer.value], attention_output=[layer.context])
        attention_class: Any = MixedAttention if mixed else Int8Attention
        kernels, output = _attention_weights(layer, seen, assignment)
        attention = attention_class.from_kernels(
            kernels,
            output,
            input_params={group: o.params() for group, o in observers.items()},
            head_params={name: o.params() for name, o in heads.items()},
            context_params=layer.context.params(),
            softmax=assignment.options.softmax,
            **sizes,
            **rule,
            **({"precision": precision} if mixed else {}),
        )
    rows = [
        report_row(m.name, m.kind, seen.get(m.name.rpartition("/")[2], []), assignment)
        for m in attention_matmuls(layer)
    ]
    return attention, rows


def convert_embedding(
    layer: Any, assignment: Assignment = ALL_INT8
) -> tuple[Int8Embedding | FloatEmbedding, list[MatMulRow]]:
    """`Int8Gather` to a frozen table; a gather is no MatMul and has no row.

    The table is INT8 unless the model has no INT8 at all.
    """
    table = array(layer.embeddings)
    settings = {"mask_zero": layer.mask_zero, "name": layer.name}
    if assignment.all_float:
        return FloatEmbedding.from_table(table, **settings), []
    per_channel = assignment.options.per_channel
    return Int8Embedding.from_table(table, per_channel=per_channel, **settings), []


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
