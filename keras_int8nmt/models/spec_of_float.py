"""A float `Transformer` to the native decoder's description: every product in float32."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_int8nmt.layers.inference.int8_dense import fused_activation
from keras_int8nmt.runtime.model_spec import (
    Attention,
    Block,
    Description,
    Embedding,
    Norm,
    NotDescribableError,
    Product,
    Projected,
    float_product,
)

if TYPE_CHECKING:
    from keras_int8nmt.models.transformer import Transformer


def describe_float(model: Transformer, plain: bool = False) -> Description:
    """The description of a float model with the weights that it has now; `plain` as there.

    Raises:
        NotDescribableError: when the model computes in another type than float32.
    """
    if model.compute_dtype != "float32":
        raise NotDescribableError(
            f"The native decoder computes in float32; the model does in {model.compute_dtype}."
        )
    model.build()
    multiplier = float(model.scale)
    embeddings = tuple(
        Embedding(tf.convert_to_tensor(layer.embeddings), None, multiplier)
        for layer in (model.source_embedding, model.target_embedding)
    )
    return Description(model.source_vocabulary_size, plain).model(
        model.settings,
        tf.constant(model.position_table, tf.float32),
        (embeddings[0], embeddings[1]),
        (
            _stack(model.encoder_blocks, ("attention",), model.encoder_norm),
            _stack(model.decoder_blocks, ("self_attention", "cross_attention"), model.decoder_norm),
        ),
        _output(model),
    )


def _output(model: Transformer) -> Product:
    layer = model.output_projection
    if layer is not None:
        return float_product(layer.kernel.shape, lambda: layer.kernel, layer.bias)
    table = model.target_embedding.embeddings
    return float_product(
        table.shape[::-1],
        lambda: tf.transpose(tf.convert_to_tensor(table)),
        model.output_bias,
    )


def _stack(
    blocks: list[Any], attentions: tuple[str, ...], final_norm: Any
) -> tuple[Norm | None, list[Block]]:
    """Each norm as the end of the sub-layer before it; a pre-norm stack begins with the first."""
    names = (*attentions, "ffn")
    own = [getattr(block, name + "_norm") for block in blocks for name in names]
    pre_norm = final_norm is not None
    following = [*own[1:], final_norm] if pre_norm else own

    def norm(layer: Any) -> Norm:
        carry = "sum" if pre_norm else "norm"
        return Norm(layer.gamma, layer.beta, layer.epsilon, carry)

    described = []
    for i, block in enumerate(blocks):
        norms = [norm(layer) for layer in following[i * len(names) : (i + 1) * len(names)]]
        parts = [_attention(getattr(block, name), name != "cross_attention") for name in attentions]
        described.append(
            Block(
                parts[0],
                norms[0],
                _dense(block.ffn_in),
                _dense(block.ffn_out),
                norms[-1],
                parts[1] if len(parts) > 1 else None,
                norms[1] if len(parts) > 1 else None,
            )
        )
    return norm(own[0]) if pre_norm else None, described


def _dense(layer: Any) -> Product:
    activation = fused_activation(layer.activation)
    if activation is None:
        raise NotDescribableError(f"The native decoder has no activation {layer.activation!r}.")
    return float_product(layer.kernel.shape, lambda: layer.kernel, layer.bias, activation)


def _attention(layer: Any, one_input: bool) -> Attention:
    """Query, key and value as one product where they read one input, else the query by itself."""
    heads, head_dim, value_dim = layer.num_heads, layer.key_dim, layer.value_dim
    widths = {"query": heads * head_dim, "key": heads * head_dim, "value": heads * value_dim}
    projections = []
    for names in (("query", "key", "value"),) if one_input else (("query",), ("key", "value")):
        biases, columns, column = [], {}, 0
        for name in names:
            bias = getattr(layer, name + "_dense").bias
            missing = tf.zeros((widths[name],))
            biases.append(missing if bias is None else tf.reshape(bias, (-1,)))
            columns[name] = column
            column += widths[name]
        product = float_product(
            (layer.query_dense.kernel.shape[0], column),
            partial(_side_by_side, layer, {name: widths[name] for name in names}),
            tf.concat(biases, 0),
        )
        projections.append(Projected(product, columns, "key" in names and not one_input))
    kernel = layer.output_dense.kernel
    width = kernel.shape[-1]
    return Attention(
        heads,
        head_dim,
        value_dim,
        "float32",
        "float32",
        1.0 / math.sqrt(head_dim),
        None,
        1.0,
        projections,
        float_product(
            (heads * value_dim, width),
            lambda: tf.reshape(kernel, (-1, width)),
            layer.output_dense.bias,
        ),
    )


def _side_by_side(layer: Any, widths: dict[str, int]) -> tf.Tensor:
    """The weights of some of query, key and value."""
    return tf.concat(
        [
            tf.reshape(getattr(layer, name + "_dense").kernel, (-1, width))
            for name, width in widths.items()
        ],
        1,
    )
