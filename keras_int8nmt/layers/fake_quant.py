"""Rounded and clipped values in float, with straight-through gradients (`keras.ops` only).

The values are those that the INT8 layers compute with: `q = clip(round(x * scale) + zero_point)`,
then `(q - zero_point) / scale`. Gradients pass unchanged where nothing was clipped and are zero
where something was.
"""

from __future__ import annotations

from typing import Any

from keras import ops

WEIGHT_LEVELS = 127.0
PROBABILITY_SCALE = 255.0


def straight_through(value: Any, x: Any) -> Any:
    """`value` in the forward pass, the gradient of `x` in the backward pass.

    `x - stop_gradient(x)` is exactly zero, so that `value` is not rounded a second time.
    """
    return ops.stop_gradient(value) + (x - ops.stop_gradient(x))


def fake_quantize(x: Any, scale: Any, zero_point: Any, lowest: Any, highest: Any) -> Any:
    """`x` as its codes stand for it; `scale` multiplies. All numbers are float32 scalars."""
    dtype = x.dtype
    x = ops.cast(x, "float32")
    inv_scale = 1.0 / scale
    codes = ops.clip(ops.round(x * scale) + zero_point, lowest, highest)
    values = (codes - zero_point) * inv_scale
    clipped = ops.clip(x, (lowest - zero_point) * inv_scale, (highest - zero_point) * inv_scale)
    return ops.cast(straight_through(values, clipped), dtype)


def fake_quantize_weights(weights: Any, axis: int | tuple[int, ...] = 0) -> Any:
    """Weights as int8 with one scale per output channel stands for them.

    Args:
        weights: Float tensor.
        axis: The axes that the product sums over; the others are output channels.
    """
    dtype = weights.dtype
    weights = ops.cast(weights, "float32")
    largest = ops.stop_gradient(ops.max(ops.abs(weights), axis=axis, keepdims=True))
    scale = ops.where(largest > 0.0, WEIGHT_LEVELS / ops.where(largest > 0.0, largest, 1.0), 1.0)
    codes = ops.clip(ops.round(weights * scale), -WEIGHT_LEVELS, WEIGHT_LEVELS)
    return ops.cast(straight_through(codes * (1.0 / scale), weights), dtype)


def fake_quantize_probabilities(probabilities: Any) -> Any:
    """Softmax output as uint8 with the fixed scale 255."""
    dtype = probabilities.dtype
    probabilities = ops.cast(probabilities, "float32")
    values = ops.round(probabilities * PROBABILITY_SCALE) * (1.0 / PROBABILITY_SCALE)
    return ops.cast(straight_through(values, probabilities), dtype)
