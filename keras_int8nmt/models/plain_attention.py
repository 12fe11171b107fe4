"""The cache protocol of `QuantAttention` for `keras.layers.MultiHeadAttention`, which has none.

Each function takes either layer; the plain one is computed from its public sub-layers, with the
result of its full forward pass.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from keras_int8nmt.layers.attention_math import (
    attention_probabilities,
    filled_mask,
    merge_masks,
    write_cache,
)
from keras_int8nmt.layers.quant_attention import QuantAttention

Cache = tuple[Any, Any]


def make_cache(layer: Any, rows: Any, capacity: Any) -> Cache:
    """An empty cache: keys and values `[rows, capacity, heads, dim]`."""
    if isinstance(layer, QuantAttention):
        return layer.make_cache(rows, capacity)
    keys = (rows, capacity, layer.num_heads, layer.key_dim)
    values = (rows, capacity, layer.num_heads, layer.value_dim)
    return ops.zeros(keys, layer.compute_dtype), ops.zeros(values, layer.compute_dtype)


def compute_cache(layer: Any, value: Any, mask: Any = None) -> Cache:
    """Projected keys and values of `value` `[b, s, d]`; masked positions are not observed."""
    if isinstance(layer, QuantAttention):
        return layer.compute_cache(value, mask=mask)
    return layer.key_dense(value), layer.value_dense(value)


def cached_attention(
    layer: Any,
    query: Any,
    value: Any,
    cache: Cache,
    index: Any = None,
    value_mask: Any = None,
    counted: Any = None,
) -> tuple[Any, Cache]:
    """Attention to a cache.

    Args:
        layer: `QuantAttention` or `keras.layers.MultiHeadAttention`, built.
        query: `[b, t, d]`.
        value: `[b, t, d]`, written to the cache at position `index` and on; None without `index`.
        cache: Keys and values, `[b, capacity, heads, dim]`.
        index: int32 scalar; keys after the written ones are not attended to. None: all are.
        value_mask: bool `[b, capacity]`.
        counted: bool `[b, t]`: which queries, and values with them, are observed; the output of the
            others is undefined. By default all are.

    Returns:
        `[b, t, d]` and the cache.
    """
    if isinstance(layer, QuantAttention):
        if value is not None and counted is not None:
            # The values are the queries' own.
            value_mask = counted
        return layer(
            query,
            value,
            query_mask=counted,
            value_mask=value_mask,
            cache=cache,
            cache_index=index,
        )
    keys, values = cache
    allowed = None
    if index is not None:
        keys = write_cache(keys, layer.key_dense(value), index)
        values = write_cache(values, layer.value_dense(value), index)
        allowed = filled_mask(ops.shape(keys)[1], index + ops.shape(value)[1])
    mask = merge_masks(value_mask=value_mask, allowed=allowed)
    scale = 1.0 / math.sqrt(layer.key_dim)
    probabilities = attention_probabilities(layer.query_dense(query), keys, mask, scale)
    probabilities = ops.cast(probabilities, values.dtype)
    context = ops.einsum("bnts,bsnh->btnh", probabilities, values)
    return layer.output_dense(context), (keys, values)
