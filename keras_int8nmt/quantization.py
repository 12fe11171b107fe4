"""The number rules: scale, round, clip, dequantize. NumPy only.

What this file says is what the native kernels, the stock TensorFlow operations and the simulation
compute, bit for bit. `scale` multiplies:

    q = clip(round_half_even(x * scale) + zero_point)        x ~ (q - zero_point) * (1 / scale)

int8 codes lie in [-127, 127], uint8 codes in [0, 255]. Each float32 step is rounded once. The paper
(arXiv 1906.00532, section 4.1) writes round((x - zero_offset) * scale), that is
zero_point = -round(zero_offset * scale).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

CODE_RANGE = {"int8": (-127, 127), "uint8": (0, 255)}
WEIGHT_MAX = 127
# Elements of weights that are looked at together.
_AT_ONCE = 1 << 21
# By the bits of weights: their largest magnitude. The product of 7-bit weights and codes of inputs,
# added up in pairs, fits 16 bits: 2 * 255 * 63 < 2^15.
WEIGHT_RANGE = {8: WEIGHT_MAX, 7: 63}
# How a MatMul's input gets its scale: from calibration, or each row from its own largest value.
ACTIVATION_SCALES = ("static", "dynamic")
# A row whose largest magnitude is at most this has no scale of its own: 127 / maximum, or the
# inverse of that, would be no normal float32 (the bound of `_scale`, in float32).
LEAST_ROW_MAXIMUM = np.float32(1.5e-36)
# What a MatMul may compute in.
PRECISIONS = ("int8", "float32")


@dataclass(frozen=True)
class QuantParams:
    """How a tensor is quantized.

    Args:
        scale: float32, finite and positive; codes per unit.
        zero_point: The code of 0.0.
        dtype: "int8" or "uint8".

    Raises:
        ValueError: naming the value that is out of range.

    Example:

        >>> QuantParams(np.float32(127), 0, "int8").inv_scale
        np.float32(0.007874016)
    """

    scale: np.float32
    zero_point: int = 0
    dtype: str = "int8"

    def __post_init__(self) -> None:
        if self.dtype not in CODE_RANGE:
            raise ValueError(f"dtype must be one of {', '.join(CODE_RANGE)}; it is {self.dtype!r}.")
        object.__setattr__(self, "scale", np.float32(self.scale))
        object.__setattr__(self, "zero_point", int(self.zero_point))
        if not (np.isfinite(self.scale) and self.scale > 0 and np.isfinite(self.inv_scale)):
            raise ValueError(
                f"scale must be a positive float32 with an inverse; it is {self.scale}."
            )
        low, high = CODE_RANGE[self.dtype]
        if not low <= self.zero_point <= high:
            raise ValueError(
                f"zero_point of {self.dtype} must be in [{low}, {high}]; it is {self.zero_point}."
            )

    @property
    def inv_scale(self) -> np.float32:
        """float32(1) / scale: the value of one step."""
        with np.errstate(over="ignore"):
            return np.float32(1) / self.scale


def quantize(x: np.ndarray, params: QuantParams) -> np.ndarray:
    """Codes of float values; the reference of every quantizing kernel.

    Args:
        x: float32, any shape. NaN gives the lowest code, infinities the ends of the range.
        params: The rule.

    Returns:
        Array of `params.dtype` and the shape of `x`.
    """
    low, high = (np.float32(v) for v in CODE_RANGE[params.dtype])
    with np.errstate(invalid="ignore", over="ignore"):
        v = np.rint(np.asarray(x, np.float32) * params.scale) + np.float32(params.zero_point)
        v = np.where(v > low, v, low)
        v = np.where(v < high, v, high)
    return v.astype(params.dtype)


def dequantize(q: np.ndarray, params: QuantParams) -> np.ndarray:
    """float32 values that codes stand for: `float(q - zero_point) * inv_scale`."""
    return (q.astype(np.int32) - params.zero_point).astype(np.float32) * params.inv_scale


def params_from_thresholds(
    threshold_min: float, threshold_max: float, *, symmetric: bool
) -> QuantParams:
    """The rule for values between two thresholds (arXiv 1906.00532, section 4.1).

    Args:
        threshold_min, threshold_max: The range that codes stand for, finite, with
            `threshold_min <= threshold_max`; it is widened to contain 0, which must have a code.
        symmetric: True: int8 of the larger magnitude, zero point 0. False: uint8 over the range,
            with zero point 0 where nothing is negative.

    Returns:
        `QuantParams`. A range that is only 0 has scale 1.

    Raises:
        ValueError: for thresholds that are not finite or not in order.

    Example:

        >>> params_from_thresholds(-1.0, 3.0, symmetric=False)
        QuantParams(scale=np.float32(63.75), zero_point=64, dtype='uint8')
    """
    low, high = float(threshold_min), float(threshold_max)
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ValueError(f"Thresholds must be finite and in order; they are {low} and {high}.")
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        return QuantParams(_scale(WEIGHT_MAX, max(-low, high)), 0, "int8")
    scale = _scale(255, high - low)
    # A range without positive values would round to 255 here; never past it.
    return QuantParams(scale, int(np.rint(-low * float(scale))), "uint8")


def _scale(levels: int, length: float) -> np.float32:
    """levels / length rounded once; 1 for a range too short to have a float32 scale."""
    if length <= 0 or levels / length > float(np.finfo(np.float32).max) / 4:
        return np.float32(1)
    return np.float32(levels / length)


def quantize_weights(
    weights: np.ndarray, per_channel: bool = True, bits: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """int8 weights and their scales, 127 / max |w|, or 63 / max |w|.

    Args:
        weights: float `[k, n]`, finite; n output channels.
        per_channel: One scale per output channel; False: one for all, as the paper has it.
        bits: 8, or 7 for codes in [-63, 63], see `convert`.

    Returns:
        `(codes, scale)`: int8 `[k, n]` in [-127, 127], and float32 `[n]`. A channel of zeros has
        scale 1.

    Raises:
        ValueError: for another rank, for values that are not finite, and for other `bits`.
    """
    if bits not in WEIGHT_RANGE:
        raise ValueError(
            f"`bits` must be one of {', '.join(map(str, WEIGHT_RANGE))}; it is {bits}."
        )
    limit = WEIGHT_RANGE[bits]
    weights = np.asarray(weights, np.float32)
    if weights.ndim != 2:
        raise ValueError(f"Weights must have shape [k, n]; they have shape {weights.shape}.")
    largest = np.zeros(weights.shape[1], np.float32)
    # Some rows at a time: those of a large vocabulary take a third of a model's memory.
    for rows in _rows_at_once(weights):
        if not np.all(np.isfinite(rows)):
            raise ValueError("Weights must be finite; some are NaN or infinite.")
        largest = np.maximum(largest, np.max(np.abs(rows), axis=0))
    if not per_channel and largest.size:
        largest = np.full_like(largest, largest.max())
    # Below it limit / max is no float32: such a channel is zero for every purpose.
    usable = largest > 1e-36
    scale = np.where(usable, np.float32(limit) / np.where(usable, largest, 1), 1)
    scale = scale.astype(np.float32)
    codes = np.empty(weights.shape, np.int8)
    for rows, into in zip(_rows_at_once(weights), _rows_at_once(codes), strict=True):
        into[...] = np.clip(np.rint(rows * scale), -limit, limit)
    return codes, scale


def _rows_at_once(x: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of an array, so many in a view that they have a few million elements."""
    step = max(1, _AT_ONCE // max(1, x.shape[1]))
    return (x[start : start + step] for start in range(0, len(x), step))


def combine_scales(input_params: QuantParams, weight_scale: np.ndarray) -> np.ndarray:
    """float32 `[n]`: the value of one step of an accumulator, input times weights."""
    product = np.float64(input_params.inv_scale) / weight_scale.astype(np.float64)
    return product.astype(np.float32)


def fold_bias(
    bias: np.ndarray | None,
    codes: np.ndarray,
    weight_scale: np.ndarray,
    input_params: QuantParams,
) -> np.ndarray:
    """The bias with the input's zero point in it; float32 `[n]`.

    sum((a - z) * w) = sum(a * w) - z * sum(w), so b' = b - z * s_x * s_w * sum(w): computed in
    float64, rounded once.
    """
    folded = np.zeros(codes.shape[1]) if bias is None else np.asarray(bias, np.float64)
    if input_params.zero_point:
        step = np.float64(input_params.inv_scale) / weight_scale.astype(np.float64)
        folded = folded - input_params.zero_point * step * codes.sum(axis=0, dtype=np.int64)
    return folded.astype(np.float32)


def fold_output_scale(
    scales: np.ndarray, bias: np.ndarray, output_scale: np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Scales and bias of a product whose output is at once multiplied by `output_scale`."""
    factor = np.float64(output_scale)
    return (
        (scales.astype(np.float64) * factor).astype(np.float32),
        (bias.astype(np.float64) * factor).astype(np.float32),
    )


# ---- scales that are not calibrated: each row of a MatMul's input has its own ----


def quantize_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes of rows by their own largest magnitude (dynamic quantization, as in CTranslate2).

    For a row with the largest magnitude m: scale = 127 / m, or 1 where m is at most
    `LEAST_ROW_MAXIMUM`, whose codes are then all 0; codes = clip(round_half_even(x * scale)) to
    [-127, 127]; inverse = 1 / scale. A row with a NaN or an infinity has the codes of scale 1, as
    `quantize` gives them, and the inverse NaN: all that comes of it is NaN, as in float32.

    Args:
        x: float32 `[..., k]`, k at least 1.

    Returns:
        `(codes, inverses)`: int8 `[..., k]` and float32 `[..., 1]`.

    Example:

        >>> quantize_rows(np.float32([[1, -2], [0, 0]]))
        (array([[  64, -127],
               [   0,    0]], dtype=int8), array([[0.01574803],
               [1.        ]], dtype=float32))
    """
    x = np.asarray(x, np.float32)
    largest = np.max(np.abs(x), axis=-1, keepdims=True)
    finite = np.isfinite(largest)
    usable = finite & (largest > LEAST_ROW_MAXIMUM)
    scale = np.where(usable, np.float32(WEIGHT_MAX) / np.where(usable, largest, 1), 1)
    scale = scale.astype(np.float32)
    low, high = np.float32(-WEIGHT_MAX), np.float32(WEIGHT_MAX)
    with np.errstate(invalid="ignore", over="ignore"):
        v = np.rint(x * scale)
        v = np.where(v > low, v, low)
        v = np.where(v < high, v, high)
    inverses = np.where(finite, np.float32(1) / scale, np.float32(np.nan))
    return v.astype(np.int8), inverses.astype(np.float32)


def dynamic_matmul(
    x: np.ndarray, kernel: np.ndarray, weight_scale: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """`x @ weights + bias` by codes whose rows have scales of their own: the reference.

        y = (float32(codes @ kernel) * (1 / weight_scale)) * inverse + bias

    The sum of products of codes is exact; its conversion, both products and the sum are rounded to
    float32 one by one, in this order, everywhere.

    Args:
        x: float32 `[..., k]`.
        kernel, weight_scale: What `quantize_weights` gives for `[k, n]`.
        bias: float32 `[n]`.

    Returns:
        float32 `[..., n]`.
    """
    codes, inverses = quantize_rows(x)
    sums = codes.astype(np.int64) @ kernel.astype(np.int64)
    y = sums.astype(np.float32) * inverse_weight_scales(weight_scale)
    return y * inverses + bias


def inverse_weight_scales(weight_scale: np.ndarray) -> np.ndarray:
    """float32 `[n]`: the value of one step of each output channel's weights."""
    return np.float32(1) / weight_scale
