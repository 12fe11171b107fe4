"""The formulas of attention, as functions over `keras.ops`; the state is in the layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.observing.exported import product_output

# Far below any score, yet finite in float16, where softmax is not computed: scores are float32.
_MASKED_SCORE = -1e30
_REGULARIZES_BY_ROW = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 14)


def causal_mask(num_queries: Any, num_keys: Any, offset: Any = 0) -> Any:
    """bool `[1, t, s]`: query t stands at position `offset + t` and sees keys up to it."""
    rows = ops.expand_dims(ops.arange(num_queries, dtype="int32"), -1) + offset
    columns = ops.expand_dims(ops.arange(num_keys, dtype="int32"), 0)
    return ops.expand_dims(ops.greater_equal(rows, columns), 0)


def merge_masks(
    attention_mask: Any = None,
    query_mask: Any = None,
    value_mask: Any = None,
    key_mask: Any = None,
    allowed: Any = None,
) -> Any:
    """All masks as one, or None; the rule of `keras.layers.MultiHeadAttention`.

    Args:
        attention_mask: `[t, s]`, `[b, t, s]` or, one a head, `[b, n, t, s]`.
        query_mask: `[b, t]`.
        value_mask: `[b, s]`.
        key_mask: `[b, s]`.
        allowed: A computed mask, `[1, t, s]`.

    Returns:
        bool, broadcasts against `[b, n, t, s]`, rank 4.
    """
    merged = None
    if attention_mask is not None:
        merged = ops.cast(attention_mask, "bool")
        if len(merged.shape) not in (2, 3, 4):
            raise ValueError(
                "`attention_mask` must have shape [t, s], [b, t, s] or [b, n, t, s]; received "
                f"shape {tuple(merged.shape)}."
            )
        if len(merged.shape) == 2:
            merged = ops.expand_dims(merged, 0)
        if len(merged.shape) == 3:
            merged = ops.expand_dims(merged, 1)
    for name, mask, axis in (
        ("query_mask", query_mask, -1),
        ("value_mask", value_mask, -2),
        ("key_mask", key_mask, -2),
    ):
        if mask is None:
            continue
        if len(mask.shape) != 2:
            raise ValueError(
                f"`{name}` must have shape [b, length]; received shape {tuple(mask.shape)}."
            )
        expanded = ops.expand_dims(ops.expand_dims(ops.cast(mask, "bool"), axis), 1)
        merged = expanded if merged is None else ops.logical_and(merged, expanded)
    if allowed is not None:
        allowed = ops.expand_dims(allowed, 1)
        merged = allowed if merged is None else ops.logical_and(merged, allowed)
    return merged


def filled_mask(num_keys: Any, filled: Any) -> Any:
    """bool `[1, 1, s]`: the first `filled` keys."""
    return ops.reshape(ops.arange(num_keys, dtype="int32") < filled, (1, 1, -1))


def place_mask(mask: Any, value: Any, keys: Any, index: Any) -> Any:
    """A mask over the cache `keys`, from one over it or over the `value` written at `index`.

    Which of the two `mask` is shows in its length; positions not written now are then allowed.
    """
    capacity, written = keys.shape[1], value.shape[1]
    if mask is None or mask.shape[1] == capacity or mask.shape[1] != written:
        return mask
    everywhere = ops.ones((ops.shape(mask)[0], ops.shape(keys)[1]), "int32")
    start = ops.stack([ops.zeros((), "int32"), ops.cast(index, "int32")])
    return ops.cast(ops.slice_update(everywhere, start, ops.cast(mask, "int32")), "bool")


def _lengths_differ(a: Any, b: Any) -> bool:
    return None not in (a.shape[1], b.shape[1]) and a.shape[1] != b.shape[1]


def known_keys(attention_mask: Any, value_mask: Any, key_mask: Any, value: Any) -> Any:
    """Which positions of `value` some query may see, bool `[b or 1, s]`; None if unknown."""
    known = None
    for mask in (value_mask, key_mask):
        # With a cache the mask may speak of the cache's positions: its length then differs.
        if mask is None or _lengths_differ(mask, value):
            continue
        known = (
            ops.cast(mask, "bool")
            if known is None
            else ops.logical_and(known, ops.cast(mask, "bool"))
        )
    if attention_mask is not None:
        seen = merge_masks(attention_mask)
        seen = ops.any(seen, axis=(1, 2))
        known = seen if known is None else ops.logical_and(known, seen)
    return known


def known_rows(mask: Any, query_mask: Callable[[], Any]) -> Any:
    """Which queries count, bool `[b or 1, t or 1]`: not masked, and with a key to see."""
    known = query_mask()
    if mask is not None:
        seeing = ops.any(mask, axis=(1, 3))
        known = seeing if known is None else ops.logical_and(known, seeing)
    return known


def attention_probabilities(
    query: Any,
    key: Any,
    mask: Any,
    scale: float,
    softmax: Any = None,
    product: Callable[[Any], Any] = lambda scores: scores,
) -> Any:
    """softmax(query key^T * scale) over the allowed keys, float32 `[b, n, t, s]`.

    Args:
        query: `[b, t, n, h]`.
        key: `[b, s, n, h]`.
        mask: None or bool that broadcasts against `[b, n, t, s]`.
        scale: Factor for the scores.
        softmax: A `keras.layers.Softmax` that applies the mask, or None.
        product: What the product of queries and keys passes.

    Returns:
        The probabilities. A row with no allowed key has the same probability for every key, unless
        `softmax` says something else.
    """
    scores = product(ops.einsum("btnh,bsnh->bnts", query, key))
    scores = ops.cast(scores, "float32") * scale
    if softmax is not None:
        return ops.cast(softmax(scores, mask=mask), "float32")
    if mask is not None:
        scores = ops.where(mask, scores, ops.cast(_MASKED_SCORE, "float32"))
    # Written out: `keras.ops.softmax` warns of an axis of size 1, as in the first decoding step.
    # With an initial value Keras takes the largest of an empty batch, too.
    largest = ops.max(scores, axis=-1, keepdims=True, initial=-math.inf)
    powers = ops.exp(scores - ops.stop_gradient(largest))
    return powers / ops.sum(powers, axis=-1, keepdims=True)


def project(dense: Any, x: Any, kernel: Callable[[Any, int], Any], summed: int) -> Any:
    """What `dense(x)` computes, with the kernel that `kernel` makes of the layer's own.

    Args:
        dense: A `keras.layers.EinsumDense`.
        x: Its input.
        kernel: Function of the layer's kernel and `summed`.
        summed: How many leading axes of the kernel are summed over.
    """
    y = ops.einsum(dense.equation, x, kernel(dense.kernel, summed))
    if dense.bias is not None:
        y = ops.add(y, dense.bias)
    y = product_output(dense, "", y)
    if dense.activity_regularizer is not None:
        dense.add_loss(activity_loss(dense.activity_regularizer, y))
    return y


def activity_loss(regularizer: Callable[[Any], Any], y: Any) -> Any:
    """What Keras adds to the loss for an output: since 3.14 by the rows of the batch."""
    loss = regularizer(y)
    if not _REGULARIZES_BY_ROW:
        return loss
    return ops.divide_no_nan(loss, ops.cast(ops.shape(y)[0], loss.dtype))


def write_cache(cache: Any, update: Any, index: Any) -> Any:
    """`cache` `[b, capacity, n, h]` with `update` `[b, t, n, h]` at positions from `index` on."""
    zero = ops.zeros((), "int32")
    start = ops.stack([zero, ops.cast(index, "int32"), zero, zero])
    return ops.slice_update(cache, start, ops.cast(update, cache.dtype))
