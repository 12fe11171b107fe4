"""Rounded and clipped values in float, with straight-through gradients (`keras.ops` only).

The values are those that the INT8 layers compute with: `q = clip(round(x * scale) + zero_point)`,
then `(q - zero_point) / scale`. Gradients pass unchanged where nothing was clipped and are zero
where something was.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_int8nmt.layers.observing.branches import traced_once

WEIGHT_LEVELS = 127.0
PROBABILITY_SCALE = 255.0


def straight_through(value: Any, x: Any) -> Any:
    """`value` in the forward pass, the gradient of `x` in the backward pass.

    `x - stop_gradient(x)` is exactly zero, so that `value` is not rounded a second time.
    """
    return ops.stop_gradient(value) + (x - ops.stop_gradient(x))


@traced_once(((None,), "float32"), ((4,), "float32"))
def _fake_quantize(x: Any, quantizer: Any) -> Any:
    scale, zero_point, lowest, highest = (quantizer[i] for i in range(4))
    inv_scale = 1.0 / scale
    codes = ops.clip(ops.round(x * scale) + zero_point, lowest, highest)
    values = (codes - zero_point) * inv_scale
    clipped = ops.clip(x, (lowest - zero_point) * inv_scale, (highest - zero_point) * inv_scale)
    return straight_through(values, clipped)


def fake_quantize(x: Any, quantizer: Any) -> Any:
    """`x` as its codes stand for it.

    Args:
        x: Float tensor.
        quantizer: float32 `[4]`: scale (it multiplies), zero point, lowest and highest code.
    """
    values = _fake_quantize(ops.reshape(ops.cast(x, "float32"), (-1,)), quantizer)
    return ops.cast(ops.reshape(values, ops.shape(x)), x.dtype)


@traced_once(((None, None), "float32"))
def _fake_quantize_columns(weights: Any) -> Any:
    largest = ops.stop_gradient(ops.max(ops.abs(weights), axis=0, keepdims=True))
    scale = ops.where(largest > 0.0, WEIGHT_LEVELS / ops.where(largest > 0.0, largest, 1.0), 1.0)
    codes = ops.clip(ops.round(weights * scale), -WEIGHT_LEVELS, WEIGHT_LEVELS)
    return straight_through(codes * (1.0 / scale), weights)


def fake_quantize_weights(weights: Any, summed: int = 1) -> Any:
    """Weights as int8 with one scale per output channel stands for them.

    Args:
        weights: Float tensor of known shape.
        summed: How many leading axes the product sums over; the others are output channels.
    """
    shape = tuple(weights.shape)
    rows = 1
    for size in shape[:summed]:
        rows *= size
    columns = ops.reshape(ops.cast(weights, "float32"), (rows, -1))
    return ops.cast(ops.reshape(_fake_quantize_columns(columns), shape), weights.dtype)


def fake_quantize_rows(rows: Any) -> Any:
    """Like `fake_quantize_weights`, with one scale for each vector along the last axis."""
    flat = ops.reshape(ops.cast(rows, "float32"), (-1, rows.shape[-1]))
    values = ops.transpose(_fake_quantize_columns(ops.transpose(flat)))
    return ops.cast(ops.reshape(values, ops.shape(rows)), rows.dtype)


def fake_quantize_probabilities(probabilities: Any) -> Any:
    """float32 softmax output as uint8 with the fixed scale 255."""
    values = ops.round(probabilities * PROBABILITY_SCALE) * (1.0 / PROBABILITY_SCALE)
    return straight_through(values, probabilities)
