"""The bias on the scores of T5's attention: relative positions and masks, by `keras.ops`.

KerasHub's `T5MultiHeadAttention` gives it on to the layers above, with the mask folded in. Each
step is that layer's, so that the bias is its to the bit.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

BUCKETS = 32
MAX_DISTANCE = 128
# What a masked key has added to its score. What lies below half of it is masked.
MASKED = -1e9


def relative_buckets(relative: Any, bidirectional: bool) -> Any:
    """The bucket of each distance, int32 in `[0, BUCKETS)`.

    Near distances have a bucket each, far ones share one by the logarithm, up to MAX_DISTANCE.

    Args:
        relative: int32, position of the key less that of the query.
        bidirectional: Whether keys behind the query have buckets of their own; else they count as
            distance 0.
    """
    buckets = BUCKETS
    first = 0
    if bidirectional:
        buckets //= 2
        first = ops.cast(ops.greater(relative, 0), relative.dtype) * buckets
        relative = ops.abs(relative)
    else:
        relative = -ops.minimum(relative, 0)
    exact = buckets // 2
    far = exact + ops.cast(
        ops.log(ops.cast(relative, "float32") / ops.cast(exact, "float32"))
        / ops.cast(ops.log(MAX_DISTANCE / exact), "float32")
        * (buckets - exact),
        relative.dtype,
    )
    far = ops.minimum(far, buckets - 1)
    return first + ops.where(ops.less(relative, exact), relative, far)


def relative_bias(table: Any, queries: Any, keys: Any, start: Any, bidirectional: bool) -> Any:
    """The learned bias of each pair, `[1, heads, queries, keys]`.

    Args:
        table: Float `[BUCKETS, heads]`.
        queries, keys: How many.
        start: Position of the first query.
        bidirectional: As in `relative_buckets`.
    """
    context = ops.arange(queries)[:, None] + start
    relative = ops.arange(keys)[None, :] - context
    values = ops.take(table, relative_buckets(relative, bidirectional), axis=0)
    return ops.expand_dims(ops.transpose(values, axes=(2, 0, 1)), axis=0)


def position_bias(
    table: Any,
    heads: int,
    queries: Any,
    keys: Any,
    start: Any,
    mask: Any,
    *,
    bidirectional: bool,
    dtype: str,
) -> Any:
    """What is added to the scores of a first layer, `[b or 1, heads, queries, keys]`.

    Args:
        table: As in `relative_bias`; None of a layer without one, whose bias is 0.
        heads: How many.
        queries, keys, start, bidirectional: As in `relative_bias`.
        mask: None, or `[b, queries or 1, keys]`, 1 where a query may attend to a key.
        dtype: Of zeros.
    """
    if table is None:
        bias = ops.zeros((1, heads, queries, keys), dtype)
    else:
        bias = relative_bias(table, queries, keys, start, bidirectional)
    if mask is None:
        return bias
    return bias + (1.0 - ops.cast(mask[:, None, :, :], bias.dtype)) * MASKED


def allowed(bias: Any) -> Any:
    """Which keys each query may attend to, bool of the shape of a bias."""
    return ops.greater(bias, MASKED / 2)


def known_keys(bias: Any) -> Any:
    """Which keys some query attends to, bool `[b or 1, keys]`."""
    return ops.any(allowed(bias), axis=(1, 2))


def spec_of_bias(given: Any, heads: int, queries: Any, keys: Any, mask: Any, dtype: str) -> Any:
    """What is known of the bias that a call gives: `given`, or a new one."""
    if given is not None:
        return given
    batch = 1 if mask is None else mask.shape[0]
    return keras.KerasTensor((batch, heads, queries, keys), dtype=dtype)
