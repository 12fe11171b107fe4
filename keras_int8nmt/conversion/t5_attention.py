"""KerasHub's T5 attention, known by its name and its call, as the Quant layer that stands in."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from keras_int8nmt.conversion.errors import ConversionError
from keras_int8nmt.layers.position_bias import BUCKETS, MAX_DISTANCE
from keras_int8nmt.layers.quant_t5_attention import QuantT5MultiHeadAttention


def is_t5_attention(layer_type: type) -> bool:
    """Whether a class is KerasHub's, called as the Quant layer is.

    KerasHub registers no name of it. Before it had caches it was called in another way: the four
    `Dense` layers of such a one become INT8 by themselves.
    """
    return (
        layer_type.__name__ == QuantT5MultiHeadAttention.stands_for
        and layer_type.__module__.split(".")[0] == "keras_hub"
        and _arguments(layer_type) == _arguments(QuantT5MultiHeadAttention)
    )


def _arguments(layer_type: Any) -> list[str]:
    return list(inspect.signature(layer_type.call).parameters)


def quant_t5_attention(layer: Any) -> QuantT5MultiHeadAttention:
    """The Quant layer of the settings, weights and seed of KerasHub's.

    Raises:
        ConversionError: for other buckets of relative positions than T5 has.
    """
    buckets = layer.relative_attention_buckets, layer.relative_attention_max_distance
    if buckets != (BUCKETS, MAX_DISTANCE):
        raise ConversionError(
            f"it has {buckets[0]} buckets of relative positions up to {buckets[1]}; "
            f"QuantT5MultiHeadAttention has {BUCKETS} up to {MAX_DISTANCE}"
        )
    new = QuantT5MultiHeadAttention(
        is_decoder=layer.is_decoder,
        hidden_dim=layer.hidden_dim,
        key_value_dim=layer.key_value_dim,
        num_heads=layer.num_heads,
        dropout=layer.dropout_layer.rate,
        use_relative_attention_bias=layer.use_relative_attention_bias,
        name=layer.name,
        dtype=layer.dtype_policy,
        trainable=layer.trainable,
    )
    query, keys = (p.kernel.shape[0] for p in (layer.query_projector, layer.key_projector))
    new.build((None, None, query), (None, None, keys))
    pairs = list(zip(new.weights, layer.weights, strict=True))
    if layer.dropout_layer.rate > 0:
        seeds = (one.dropout_layer.seed_generator.state for one in (new, layer))
        pairs.append(tuple(seeds))
    for variable, given in pairs:
        # A buffer of its own: on JAX training gives away that of a variable.
        variable.assign(keras.ops.copy(given))
        variable.trainable = given.trainable
    return new
