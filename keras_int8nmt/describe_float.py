"""A float `Transformer` to the native decoder's description: every product in float32."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from keras_int8nmt.layers.int8_dense import fused_activation
from keras_int8nmt.model_description import (
    Attention,
    Block,
    Description,
    Embedding,
    Norm,
    NotDescribable,
    Product,
    Projected,
    float_product,
)
from keras_int8nmt.transformer import Transformer


def describe_float(model: Transformer) -> Description:
    """The description of a float model with the weights that it has now.

    Raises:
        NotDescribable: when the model computes in another type than float32.
    """
    if model.compute_dtype != "float32":
        raise NotDescribable(
            f"The native decoder computes in float32; the model does in {model.compute_dtype}."
        )
    model.build()
    multiplier = float(model.scale)
    embeddings = tuple(
        Embedding(tf.convert_to_tensor(layer.embeddings), None, multiplier)
        for layer in (model.source_embedding, model.target_embedding)
    )
    return Description(model.source_vocabulary_size).model(
        model.settings,
        tf.constant(model.position_table, tf.float32),
        (embeddings[0], embeddings[1]),
        (
            _stack(model.encoder_blocks, ("attention",), model.encoder_norm),
            _stack(
                model.decoder_blocks, ("self_attention", "cross_attention"), model.decoder_norm
            ),
        ),
        _output(model),
    )


def _output(model: Transformer) -> Product:
    if model.output_projection is not None:
        return float_product(model.output_projection.kernel, model.output_projection.bias)
    table = tf.convert_to_tensor(model.target_embedding.embeddings)
    return float_product(tf.transpose(table), model.output_bias)


def _stack(
    blocks: list[Any], attentions: tuple[str, ...], final_norm: Any
) -> tuple[Norm | None, list[Block]]:
    """Each norm as the end of the sub-layer before it; of a pre-norm stack the first one begins it."""
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
        raise NotDescribable(f"The native decoder has no activation {layer.activation!r}.")
    return float_product(layer.kernel, layer.bias, activation)


def _attention(layer: Any, one_input: bool) -> Attention:
    """Query, key and value as one product where they read one input, else the query by itself."""
    heads, head_dim, value_dim = layer.num_heads, layer.key_dim, layer.value_dim
    widths = {"query": heads * head_dim, "key": heads * head_dim, "value": heads * value_dim}
    projections = []
    for names in (("query", "key", "value"),) if one_input else (("query",), ("key", "value")):
        kernels, biases, columns, column = [], [], {}, 0
        for name in names:
            dense = getattr(layer, name + "_dense")
            kernels.append(tf.reshape(dense.kernel, (-1, widths[name])))
            missing = tf.zeros((widths[name],))
            biases.append(missing if dense.bias is None else tf.reshape(dense.bias, (-1,)))
            columns[name] = column
            column += widths[name]
        product = float_product(tf.concat(kernels, 1), tf.concat(biases, 0))
        projections.append(Projected(product, columns, "key" in names and not one_input))
    kernel = layer.output_dense.kernel
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
        float_product(tf.reshape(kernel, (-1, kernel.shape[-1])), layer.output_dense.bias),
    )
