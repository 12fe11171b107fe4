"""Counting a histogram inside the graph: `keras.ops` only, static shapes, XLA-friendly.

The bins are those of `calibration.histogram`: 8192 equal bins over [-2^e, 2^e). Bin edges are
multiples of a power of two, so scaling a value to its bin is exact, and so is merging two bins into
one when the range doubles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_int8nmt.layers.observing.branches import traced_once
from keras_int8nmt.thresholds.histogram import BINS, HALF, HALF_LOG2, MAX_EXPONENT, MIN_EXPONENT

_INT32_MAX = np.iinfo(np.int32).max
# 2^k where a larger magnitude needs the next exponent, and the factor from a value to its bin.
_POWERS = np.ldexp(np.float32(1), np.arange(MIN_EXPONENT, MAX_EXPONENT))
_BIN_SCALES = np.ldexp(np.float32(1), HALF_LOG2 - np.arange(MIN_EXPONENT, MAX_EXPONENT + 1))
_SHIFTS = np.left_shift(1, np.arange(HALF_LOG2 + 2)).astype(np.int32)
_BIN_NUMBERS = np.arange(-HALF, HALF, dtype=np.int32)


def exponent_of(largest: Any) -> Any:
    """The smallest e (int32) with `largest < 2^e`, by comparison: `log2` may be off by one."""
    return MIN_EXPONENT + ops.sum(ops.cast(largest >= ops.convert_to_tensor(_POWERS), "int32"))


def saturating_add(a: Any, b: Any) -> Any:
    """`a + b` for int32 counts >= 0 that stops at the largest int32 instead of wrapping round."""
    return a + ops.minimum(b, _INT32_MAX - a)


def count(x: Any, valid: Any, exponent: Any) -> Any:
    """The histogram (int32 `[BINS]`) of the float32 values of `x` where `valid` is true."""
    scale = ops.take(ops.convert_to_tensor(_BIN_SCALES), exponent - MIN_EXPONENT)
    bins = ops.clip(ops.floor(x * scale), -HALF, HALF - 1)
    bins = ops.reshape(ops.cast(bins, "int32") + HALF, (-1,))
    ones = ops.reshape(ops.cast(valid, "int32"), (-1,))
    return ops.segment_sum(ones, bins, num_segments=BINS)


def widen(histogram: Any, exponent: Any, new_exponent: Any) -> Any:
    """The same counts over [-2^new_exponent, 2^new_exponent): 2^(difference) bins become one."""
    shift = ops.clip(new_exponent - exponent, 0, HALF_LOG2 + 1)
    width = ops.take(ops.convert_to_tensor(_SHIFTS), shift)
    bins = ops.floor_divide(ops.convert_to_tensor(_BIN_NUMBERS), width) + HALF
    return ops.segment_sum(histogram, ops.cast(bins, "int32"), num_segments=BINS)


def broadcast_mask(mask: Any, x: Any) -> Any:
    """A mask over the leading axes of `x` (such as `[b, t]`) as bool of the shape of `x`."""
    if len(mask.shape) > len(x.shape):
        raise ValueError(
            f"A mask of shape {tuple(mask.shape)} has more dimensions than the observed tensor of "
            f"shape {tuple(x.shape)}."
        )
    mask = ops.cast(mask, "bool")
    for _ in range(len(x.shape) - len(mask.shape)):
        mask = ops.expand_dims(mask, -1)
    return ops.logical_and(mask, ops.ones_like(x, dtype="bool"))


@traced_once(
    ((BINS,), "int32"),
    ((), "int32"),
    ((), "float32"),
    ((), "float32"),
    ((), "int32"),
    ((None,), "float32"),
    ((None,), "bool"),
)
def _add_flat(
    histogram: Any,
    exponent: Any,
    minimum: Any,
    maximum: Any,
    nonfinite: Any,
    x: Any,
    counted: Any,
) -> tuple[Any, ...]:
    finite = ops.isfinite(x)
    valid = ops.logical_and(counted, finite)
    x = ops.where(valid, x, 0.0)
    new_exponent = ops.maximum(exponent, exponent_of(ops.max(ops.abs(x), initial=0.0)))
    bad = ops.sum(ops.cast(ops.logical_and(counted, ops.logical_not(finite)), "int32"))
    infinity = ops.cast(np.inf, "float32")
    return (
        saturating_add(widen(histogram, exponent, new_exponent), count(x, valid, new_exponent)),
        new_exponent,
        ops.minimum(minimum, ops.min(ops.where(valid, x, infinity), initial=np.inf)),
        ops.maximum(maximum, ops.max(ops.where(valid, x, -infinity), initial=-np.inf)),
        saturating_add(nonfinite, bad),
    )


def add_batch(state: tuple[Any, ...], x: Any, mask: Any = None) -> tuple[Any, ...]:
    """The state after one more batch.

    Args:
        state: `(histogram int32 [BINS], exponent int32, minimum float32, maximum float32,
            nonfinite int32)`.
        x: Values, any shape and float dtype.
        mask: None, or a bool mask over the leading axes of `x`; false positions count nothing.

    Returns:
        The new state. NaN and infinite values are counted in `nonfinite` and nowhere else.
    """
    x = ops.cast(ops.stop_gradient(x), "float32")
    counted = ops.ones_like(x, dtype="bool") if mask is None else broadcast_mask(mask, x)
    return _add_flat(*state, ops.reshape(x, (-1,)), ops.reshape(counted, (-1,)))
