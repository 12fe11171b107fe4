"""One calibrated Quant layer in, one frozen layer out; and the report row of a MatMul."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_int8nmt.conversion.bias_correction import corrected_bias
from keras_int8nmt.conversion.policy import Assignment
from keras_int8nmt.conversion.report import MatMulRow
from keras_int8nmt.layers.inference.dynamic_attention import DynamicAttention
from keras_int8nmt.layers.inference.dynamic_dense import DynamicDense
from keras_int8nmt.layers.inference.dynamic_matmul import Weights
from keras_int8nmt.layers.inference.float_dense import FloatDense
from keras_int8nmt.layers.inference.float_embedding import FloatEmbedding
from keras_int8nmt.layers.inference.frozen_cached_attention import FrozenCachedAttention
from keras_int8nmt.layers.inference.frozen_einsum_dense import FrozenEinsumDense
from keras_int8nmt.layers.inference.frozen_group_query_attention import (
    FrozenGroupQueryAttention,
    by_repeats,
)
from keras_int8nmt.layers.inference.frozen_layer_norm import FrozenLayerNorm
from keras_int8nmt.layers.inference.frozen_reversible_embedding import (
    FrozenReversibleEmbedding,
)
from keras_int8nmt.layers.inference.frozen_t5_attention import FrozenT5Attention
from keras_int8nmt.layers.inference.int8_attention import Int8Attention
from keras_int8nmt.layers.inference.int8_dense import Int8Dense
from keras_int8nmt.layers.inference.int8_embedding import Int8Embedding
from keras_int8nmt.layers.inference.mixed_attention import MixedAttention
from keras_int8nmt.layers.inference.residual_norm import ResidualNorm
from keras_int8nmt.layers.matmuls import (
    MatMul,
    WeightMatMul,
    array,
    attention_matmuls,
    dense_matmul,
)
from keras_int8nmt.layers.projections import SEPARATE_INPUTS, ProjectionGroup
from keras_int8nmt.layers.quant_layer import QuantLayer
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.thresholds.distribution import clipped_mass, sqnr_db

Dense = Int8Dense | DynamicDense | FloatDense

# What a converter is told of precision unless `convert` says otherwise.
ALL_INT8 = Assignment()


def product_bias(matmul: WeightMatMul, assignment: Assignment) -> np.ndarray | None:
    """The bias of a product, corrected where that is asked for."""
    given = None if matmul.bias is None else matmul.bias().reshape(-1)
    options = assignment.options
    if not (options.bias_correction and assignment.is_int8(matmul.name)):
        return given
    means = matmul.observers[0].channel_statistics.means()
    return corrected_bias(matmul.kernel(), given, means, **options.weight_rule)


def report_row(matmul: MatMul, assignment: Assignment) -> MatMulRow:
    """The row of a MatMul; of an INT8 one with figures of what its observers saw.

    They are not looked at where scales are dynamic.
    """
    name, kind, observers = matmul.name, matmul.kind, matmul.observers
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


def product_layer(
    matmul: WeightMatMul,
    activation: Any,
    assignment: Assignment,
    *,
    output_params: QuantParams | None = None,
    name: str,
    dtype: Any = "float32",
) -> Dense:
    """The frozen dense layer of a product and its activation, as the assignment says."""
    given = {"name": name, "dtype": dtype}
    kernel, bias = matmul.kernel(), product_bias(matmul, assignment)
    options = assignment.options
    if not assignment.is_int8(matmul.name):
        return FloatDense.from_kernel(
            kernel, bias, activation, output_params=output_params, **given
        )
    if options.dynamic:
        return DynamicDense.from_kernel(kernel, bias, activation, **given, **options.weight_rule)
    return Int8Dense.from_kernel(
        kernel,
        bias,
        activation,
        input_params=matmul.observers[0].params(),
        output_params=output_params,
        **given,
        **options.weight_rule,
    )


def convert_dense(
    layer: Any,
    assignment: Assignment = ALL_INT8,
    *,
    output_params: QuantParams | None = None,
    dtype: Any = None,
) -> Dense:
    """`QuantDense` to a frozen layer; integer output when the only reader wants `output_params`.

    With dynamic scales a plain `keras.layers.Dense` too. `dtype`: the policy of the frozen layer;
    by default that of `layer`, whose neighbours then find floats of the type that they know.
    """
    (matmul,) = matmuls_of(layer)
    assert isinstance(matmul, WeightMatMul)
    return product_layer(
        matmul,
        layer.activation,
        assignment,
        output_params=output_params,
        name=layer.name,
        dtype=dtype or layer.dtype_policy,
    )


def convert_einsum_dense(
    layer: Any, assignment: Assignment = ALL_INT8, *, dtype: Any = None
) -> FrozenEinsumDense:
    """`QuantEinsumDense` to a frozen dense layer between two reshapes. `dtype` as above."""
    (matmul,) = matmuls_of(layer)
    assert isinstance(matmul, WeightMatMul)
    # A bias over axes of the input, and what comes after it, is none of the product's.
    outside = layer.bias is not None and not layer.bias_of_columns
    activation = layer.activation
    dense = product_layer(matmul, None if outside else activation, assignment, name="product")
    product, column_shape = layer.product, layer.column_shape
    summed = product.kernel_order[: len(product.summed)]
    return FrozenEinsumDense.from_dense(
        dense,
        product.equation,
        array(layer.bias) if outside else None,
        summed_shape=[int(layer.kernel.shape[axis]) for axis in summed],
        column_shape=column_shape,
        activation=activation if outside else None,
        name=layer.name,
        dtype=dtype or layer.dtype_policy,
    )


def matmuls_of(layer: Any) -> list[MatMul]:
    """The MatMuls of a Quant layer, or of the Keras layer that it is when nobody calibrates it."""
    if isinstance(layer, QuantLayer):
        return layer.matmuls()
    if isinstance(layer, keras.layers.Dense):
        return [dense_matmul(layer)]
    if isinstance(layer, keras.layers.MultiHeadAttention):
        return attention_matmuls(layer)
    raise TypeError(f"{type(layer).__name__} tells nothing of its MatMuls.")


def convert_attention(
    layer: Any,
    assignment: Assignment = ALL_INT8,
    inputs: tuple[ProjectionGroup, ...] = SEPARATE_INPUTS,
    *,
    dtype: Any = None,
) -> Int8Attention | MixedAttention | DynamicAttention:
    """`QuantAttention` to `Int8Attention`, or to `MixedAttention` where a product stays float.

    With dynamic scales to `DynamicAttention`, and a plain `keras.layers.MultiHeadAttention` too;
    `inputs` tells which projections read the same tensor, where no calibration has seen it. `dtype`
    as in `convert_dense`.
    """
    weights, output, settings = _attention_parts(layer, assignment, dtype)
    settings["num_heads"] = layer.num_heads
    if assignment.options.dynamic:
        groups = [str(group) for group in inputs]
        return DynamicAttention.from_kernels(weights, output, inputs=groups, **settings)
    settings.update(_attention_scales(layer, assignment))
    if "float32" in settings["precision"].values():
        return MixedAttention.from_kernels(weights, output, **settings)
    del settings["precision"]
    return Int8Attention.from_kernels(weights, output, **settings)


def _attention_parts(
    layer: Any, assignment: Assignment, dtype: Any
) -> tuple[dict[str, Weights], Weights, dict[str, Any]]:
    """Weights of the projections, those of the output, and what else any attention is told."""
    matmuls = matmuls_of(layer)
    weights = {
        matmul.part: (matmul.kernel(), product_bias(matmul, assignment))
        for matmul in matmuls
        if isinstance(matmul, WeightMatMul)
    }
    settings = {
        "key_dim": layer.key_dim,
        "value_dim": layer.value_dim,
        "precision": {matmul.part: assignment[matmul.name].precision for matmul in matmuls},
        "name": layer.name,
        "dtype": dtype or layer.dtype_policy,
        **assignment.options.weight_rule,
    }
    return weights, weights.pop("attention_output"), settings


def _attention_scales(layer: Any, assignment: Assignment) -> dict[str, Any]:
    """What calibration knows of an attention, and its softmax."""
    if assignment.options.dynamic:
        inputs = dict.fromkeys(map(str, SEPARATE_INPUTS))
        return {"input_params": inputs, "head_params": {}, "context_params": None}
    heads = {"query": layer.query, "key": layer.key, "value": layer.value}
    return {
        "input_params": {str(group): o.params() for group, o in layer.observed_inputs().items()},
        "head_params": {name: observer.params() for name, observer in heads.items()},
        "context_params": layer.context.params(),
        "softmax": assignment.options.softmax,
    }


def convert_group_query_attention(
    layer: Any, assignment: Assignment = ALL_INT8, *, dtype: Any = None
) -> FrozenGroupQueryAttention:
    """`QuantGroupQueryAttention` to its frozen form. `dtype` as in `convert_dense`."""
    weights, (kernel, bias), settings = _attention_parts(layer, assignment, dtype)
    groups, repeats = layer.num_key_value_heads, layer.num_repeats
    query, query_bias = weights["query"]
    weights["query"] = (
        by_repeats(query, groups, repeats),
        None if query_bias is None else by_repeats(query_bias, groups, repeats),
    )
    return FrozenGroupQueryAttention.from_kernels(
        weights,
        (by_repeats(kernel.T, groups, repeats).T, bias),
        num_heads=groups,
        repeats=repeats,
        **settings,
        **_attention_scales(layer, assignment),
    )


def convert_cached_attention(
    layer: Any, assignment: Assignment = ALL_INT8, *, dtype: Any = None
) -> FrozenCachedAttention:
    """`QuantCachedMultiHeadAttention` to its frozen form. `dtype` as in `convert_dense`."""
    weights, output, settings = _attention_parts(layer, assignment, dtype)
    scales = _attention_scales(layer, assignment)
    return FrozenCachedAttention.from_kernels(
        weights, output, num_heads=layer.num_heads, **settings, **scales
    )


def convert_t5_attention(
    layer: Any, assignment: Assignment = ALL_INT8, *, dtype: Any = None
) -> FrozenT5Attention:
    """`QuantT5MultiHeadAttention` to its frozen form. `dtype` as in `convert_dense`."""
    weights, output, settings = _attention_parts(layer, assignment, dtype)
    table = layer.relative_attention_bias
    return FrozenT5Attention.from_kernels(
        weights,
        output,
        table=None if table is None else array(table),
        num_heads=layer.num_heads,
        is_decoder=layer.is_decoder,
        **settings,
        **_attention_scales(layer, assignment),
    )


def convert_embedding(
    layer: Any, assignment: Assignment = ALL_INT8, *, dtype: Any = None
) -> Int8Embedding | FloatEmbedding:
    """`Int8Gather` to a frozen table.

    The table is INT8 unless the model has no INT8 at all. `dtype` as in `convert_dense`.
    """
    table = array(layer.embeddings)
    settings: dict[str, Any] = {"mask_zero": layer.mask_zero, "name": layer.name}
    settings["dtype"] = dtype or layer.dtype_policy
    if assignment.all_float:
        return FloatEmbedding.from_table(table, **settings)
    per_channel = assignment.options.per_channel
    return Int8Embedding.from_table(table, per_channel=per_channel, **settings)


def convert_reversible_embedding(
    layer: Any, assignment: Assignment = ALL_INT8, *, dtype: Any = None
) -> FrozenReversibleEmbedding:
    """`QuantReversibleEmbedding` to one frozen table for rows and product.

    The table is INT8 where the product is; without one as in `convert_embedding`. `dtype` as in
    `convert_dense`.
    """
    products = [m for m in matmuls_of(layer) if isinstance(m, WeightMatMul)]
    int8 = not assignment.all_float and assignment.is_int8(*(m.name for m in products))
    params = bias = None
    for matmul in products if int8 else ():
        bias = product_bias(matmul, assignment)
        params = None if assignment.options.dynamic else matmul.observers[0].params()
    return FrozenReversibleEmbedding.from_table(
        array(layer.embeddings),
        bias,
        mask_zero=layer.mask_zero,
        reverse_dtype=layer.reverse_dtype,
        logit_soft_cap=layer.logit_soft_cap,
        precision="int8" if int8 else "float32",
        reverses=bool(products),
        input_params=params,
        name=layer.name,
        dtype=dtype or layer.dtype_policy,
        **assignment.options.weight_rule,
    )


def frozen_norm(layer: Any) -> FrozenLayerNorm | None:
    """A plain norm over the last axis in one pass, as a copy; None for any other layer.

    Nobody here knows what a subclass changes.
    """
    if type(layer) is not keras.layers.LayerNormalization or not layer.built:
        return None
    if layer.axis not in (-1, [-1]) or getattr(layer, "rms_scaling", False) or not layer.weights:
        return None
    weights = [None if held is None else array(held) for held in (layer.gamma, layer.beta)]
    return FrozenLayerNorm.from_weights(
        *weights, epsilon=layer.epsilon, name=layer.name, dtype=layer.dtype_policy
    )


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
