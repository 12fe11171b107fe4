"""`integer_rules` on TensorFlow's own operations: the same whole numbers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_int8nmt.ops.integer_rules import (
    EXP_B,
    EXP_C,
    EXP_HALVINGS,
    EXP_LN2,
    FACTOR_BITS,
    NORM_MOST,
    NORM_RESULT_BITS,
    NORM_UNIT,
    RESULT_SHIFT,
    ROOT_BITS,
    SCORE_UNIT,
)


def integer_powers(
    scores: tf.Tensor, largest: tf.Tensor, allowed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The exponentials of a softmax, 0 where not allowed, and their sum; whole, as float32.

    Args:
        scores: float32 `[..., keys]`.
        largest: float32 `[..., 1]`: of the allowed ones.
        allowed: bool, broadcasts against `scores`.
    """
    steps = tf.round(scores * float(SCORE_UNIT)) - tf.round(largest * float(SCORE_UNIT))
    q = tf.cast(tf.clip_by_value(steps, -float(EXP_HALVINGS * EXP_LN2), 0.0), tf.int32)
    z = -q // EXP_LN2
    p = q + z * EXP_LN2 + EXP_B
    powers = tf.where(allowed, tf.bitwise.right_shift(p * p + EXP_C, z), 0)
    total = tf.reduce_sum(tf.cast(powers, tf.int64), axis=-1, keepdims=True)
    return tf.cast(powers, tf.float32), tf.cast(total, tf.float32)


def integer_normal(x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """`(x - mean) / standard deviation` over the last axis, float32, a whole number of steps."""
    most = float(NORM_MOST)
    whole = tf.round(x * float(NORM_UNIT))
    # In this order NaN gives the lowest step.
    whole = tf.where(whole > -most, whole, -most)
    steps = tf.cast(tf.where(whole < most, whole, most), tf.int64)
    columns = tf.maximum(tf.cast(tf.shape(x)[-1], tf.int64), 1)
    mean = (2 * tf.reduce_sum(steps, -1, keepdims=True) + columns) // (2 * columns)
    deviations = steps - mean
    variance = tf.reduce_sum(deviations * deviations, -1, keepdims=True) // columns
    added = int(np.rint(np.float32(epsilon) * np.float32(NORM_UNIT**2)))
    # Below 2^53, so that the root in float64 has the whole part of the true one.
    radicand = tf.cast((variance + added) * 4**ROOT_BITS, tf.float64)
    root = tf.maximum(tf.cast(tf.floor(tf.sqrt(radicand)), tf.int64), 1)
    factor = tf.constant(1 << FACTOR_BITS, tf.int64) // root
    half = tf.constant(1 << (RESULT_SHIFT - 1), tf.int64)
    shift = tf.constant(RESULT_SHIFT, tf.int64)
    normal = tf.bitwise.right_shift(deviations * factor + half, shift)
    return tf.cast(normal, tf.float32) * 2.0**-NORM_RESULT_BITS
