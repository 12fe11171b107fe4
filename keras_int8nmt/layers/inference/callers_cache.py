"""Keys and values in a float cache that the caller of attention keeps, as KerasHub's decoders do.

What INT8 products read is written as the numbers that its codes stand for, so that a step by step
search gives what one call gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_int8nmt.layers.inference.attention_core import AttentionCore, Projected
from keras_int8nmt.layers.inference.frozen_layer import as_codes, as_float32
from keras_int8nmt.ops import functions as ops

_CACHED = ("key", "value")


class Attended(NamedTuple):
    """What attention multiplies, and the cache as it is then."""

    query: Projected
    keys: Projected
    values: Projected
    cache: tf.Tensor | None


def project_with_cache(
    core: AttentionCore, inputs: Mapping[str, tf.Tensor], cache: tf.Tensor | None, index: Any
) -> Attended:
    """Projects a call's inputs, and writes keys and values to its cache.

    Args:
        core: Of the attention.
        inputs: "query", "key" and "value", as `AttentionCore.project` takes them.
        cache: None, or float `[b, 2, capacity, heads, dim]`.
        index: Where the new keys and values are written; None: nowhere, the cache is used as it is.

    Raises:
        ValueError: for an index without a cache.
    """
    if cache is None and index is not None:
        raise ValueError("`cache_update_index` needs `cache`: the keys and values to write to.")
    if cache is None:
        projected = core.project(inputs)
        return Attended(projected["query"], projected["key"], projected["value"], None)
    if index is None:
        projected = core.project({"query": inputs["query"]})
    else:
        projected = core.project(inputs)
        # Both at once: a step by step search copies the cache here.
        new = tf.stack([_values(core, name, projected[name], cache) for name in _CACHED], axis=1)
        cache = keras.ops.slice_update(cache, [0, 0, index, 0, 0], new)
    keys, values = (_heads(core, name, cache[:, i]) for i, name in enumerate(_CACHED))
    return Attended(projected["query"], keys, values, cache)


def _values(core: AttentionCore, name: str, projected: Projected, cache: tf.Tensor) -> tf.Tensor:
    """Projected keys or values as the cache holds them, `[b, t, heads, dim]`."""
    x = core.cut(name, projected)
    params = core.plan.written(name)
    if params is not None:
        x = ops.dequantize(x, float(params.scale), params.zero_point)
    x = tf.reshape(x, (tf.shape(x)[0], tf.shape(x)[1], *cache.shape[3:]))
    return tf.cast(x, cache.dtype)


def _heads(core: AttentionCore, name: str, part: tf.Tensor) -> Projected:
    """A part of the cache as the products read it, `[b, capacity, heads * dim]`."""
    shape = tf.shape(part)
    x = tf.reshape(as_float32(part), (shape[0], shape[1], core.plan.width(name)))
    params = core.plan.written(name)
    return Projected(x if params is None else as_codes(x, params))
