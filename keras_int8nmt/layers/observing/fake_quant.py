"""Rounded and clipped values in float, with straight-through gradients (`keras.ops` only).

The values are those that the INT8 layers compute with: `q = clip(round(x * scale) + zero_point)`,
then `(q - zero_point) / scale`. Gradients pass unchanged where nothing was clipped and are zero
where something was.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from keras_int8nmt.layers.observing.branches import apply_if, traced_once
from keras_int8nmt.layers.observing.exported import is_for_litert, written
from keras_int8nmt.quantization import QuantParams

WEIGHT_LEVELS = 127.0
PROBABILITY_SCALE = 255.0
PROBABILITIES = QuantParams(np.float32(PROBABILITY_SCALE), 0, "uint8")


def straight_through(value: Any, x: Any) -> Any:
    """`value` in the forward pass, the gradient of `x` in the backward pass.

    `x - stop_gradient(x)` is exactly zero, so that `value` is not rounded a second time.
    """
    return ops.stop_gradient(value) + (x - ops.stop_gradient(x))


@traced_once(((None,), "float32"), ((4,), "float32"))
def _fake_quantize(x: Any, quantizer: Any) -> Any:
    quantizer = ops.stop_gradient(quantizer)
    scale, zero_point, lowest, highest = (quantizer[i] for i in range(4))
    inv_scale = 1.0 / scale
    codes = ops.clip(ops.round(x * scale) + zero_point, lowest, highest)
    values = (codes - zero_point) * inv_scale
    clipped = ops.clip(x, (lowest - zero_point) * inv_scale, (highest - zero_point) * inv_scale)
    return straight_through(values, clipped)


def fake_quantize(x: Any, quantizer: Any, *stand_ins: Any) -> Any:
    """`x` as its codes stand for it.

    Args:
        x: Float tensor.
        quantizer: float32 `[4]`: scale (it multiplies), zero point, lowest and highest code.
        *stand_ins: More of them; each serves where those before it are NaN.
    """
    for other in stand_ins:
        quantizer = ops.where(ops.isnan(quantizer), other, quantizer)
    values = _fake_quantize(ops.reshape(ops.cast(x, "float32"), (-1,)), quantizer)
    return ops.cast(ops.reshape(values, ops.shape(x)), x.dtype)


@traced_once(((None, None), "float32"))
def _fake_quantize_columns(weights: Any) -> Any:
    largest = ops.stop_gradient(ops.max(ops.abs(weights), axis=0, keepdims=True))
    scale = ops.where(largest > 0.0, WEIGHT_LEVELS / ops.where(largest > 0.0, largest, 1.0), 1.0)
    codes = ops.clip(ops.round(weights * scale), -WEIGHT_LEVELS, WEIGHT_LEVELS)
    return straight_through(codes * (1.0 / scale), weights)


def fake_quantize_columns(columns: Any) -> Any:
    """A matrix `[k, n]` as int8 with one scale per column stands for it."""
    return ops.cast(_fake_quantize_columns(ops.cast(columns, "float32")), columns.dtype)


def fake_quantize_weights_if(condition: Any, weights: Any, summed: int = 1) -> Any:
    """Where `condition` holds, weights as int8 with one scale per output channel stands for them.

    Args:
        condition: Bool scalar, as in `apply_if`.
        weights: Float tensor of known shape.
        summed: How many leading axes the product sums over; the others are output channels.
    """
    if condition is False:
        return weights
    shape = tuple(weights.shape)
    columns = ops.reshape(weights, (math.prod(shape[:summed]), -1))
    quantized = apply_if(condition, fake_quantize_columns, columns, straight_through=True)
    return ops.reshape(quantized, shape)


def fake_quantize_rows(rows: Any) -> Any:
    """Like `fake_quantize_columns`, with one scale for each vector along the last axis."""
    flat = ops.reshape(ops.cast(rows, "float32"), (-1, rows.shape[-1]))
    values = ops.transpose(_fake_quantize_columns(ops.transpose(flat)))
    return ops.cast(ops.reshape(values, ops.shape(rows)), rows.dtype)


def fake_quantize_probabilities(probabilities: Any, mask: Any = None) -> Any:
    """float32 softmax output as uint8 with the fixed scale 255.

    Args:
        probabilities: float32 `[b, n, t, s]`.
        mask: None or bool that broadcasts against it. In a row with no allowed key all keys are
            alike in float; none counts in INT8.
    """
    if mask is not None:
        probabilities = ops.where(ops.any(mask, axis=-1, keepdims=True), probabilities, 0.0)
    if is_for_litert():
        return written(probabilities, PROBABILITIES)
    values = ops.round(probabilities * PROBABILITY_SCALE) * (1.0 / PROBABILITY_SCALE)
    return straight_through(values, probabilities)
