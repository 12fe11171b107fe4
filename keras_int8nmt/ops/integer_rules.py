"""Softmax and LayerNorm in whole numbers, after I-BERT (Kim et al. 2021, arXiv 2101.01321).

Algorithms 2 (exponential), 3 (softmax) and 4 (LayerNorm) of the paper at fixed steps. I-BERT takes
its steps from its quantizers; here scores and residual sums come as float32. What this file says is
what the native kernels and the stock TensorFlow operations compute, bit for bit.
"""

from __future__ import annotations

import math

import numpy as np

from keras_int8nmt.quantization import QuantParams, quantize

ARITHMETICS = ("float", "integer")

# Scores are taken in steps of 1/256.
SCORE_UNIT = 256
EXP_LN2 = math.floor(math.log(2) * SCORE_UNIT)
# exp(p) ~ 0.3585 (p + 1.353)^2 + 0.344 for p in (-ln 2, 0]; the factor 0.3585 is left to the sum.
EXP_B = math.floor(1.353 * SCORE_UNIT)
EXP_C = math.floor(0.344 / 0.3585 * SCORE_UNIT**2)
# After so many halvings an exponential is 0.
EXP_HALVINGS = 18

# Residual sums are taken in steps of 1/1024 up to +-1024, normal values in steps of 2^-14.
NORM_UNIT = 1024
NORM_MOST = 2**20
NORM_RESULT_BITS = 14
NORM_MOST_EPSILON = 1.0
ROOT_BITS = 6
FACTOR_BITS = 40
RESULT_SHIFT = FACTOR_BITS - ROOT_BITS - NORM_RESULT_BITS


def require_arithmetic(name: str, value: str) -> str:
    """`value` if it is "float" or "integer"; a ValueError that names the argument otherwise."""
    if value not in ARITHMETICS:
        raise ValueError(f"`{name}` must be one of {', '.join(ARITHMETICS)}; received {value!r}.")
    return value


def require_norm(arithmetic: str, epsilon: float) -> str:
    """`arithmetic` likewise, for a LayerNorm of `epsilon`."""
    if require_arithmetic("arithmetic", arithmetic) == "integer" and epsilon > NORM_MOST_EPSILON:
        raise ValueError(
            f"`epsilon` must be at most {NORM_MOST_EPSILON:g} in an integer LayerNorm; received "
            f"{epsilon!r}."
        )
    return arithmetic


def integer_exp(steps: np.ndarray) -> np.ndarray:
    """The exponential of `steps / 256`, up to a factor that all values share; algorithm 2.

    Args:
        steps: Whole numbers of any shape, at most 0.

    Returns:
        int64, the shape of `steps`; 182601 for 0, and 0 from about -12.5 on.

    Example:

        >>> integer_exp(np.array([0, -177, -5000]))
        array([182601,  91300,      0])
    """
    q = np.maximum(np.asarray(steps, np.int64), -EXP_HALVINGS * EXP_LN2)
    z = -q // EXP_LN2
    p = q + z * EXP_LN2
    return ((p + EXP_B) ** 2 + EXP_C) >> z


def integer_softmax(scores: np.ndarray) -> np.ndarray:
    """Attention probabilities as uint8 codes with the scale 255; algorithm 3.

    Args:
        scores: float32 `[..., keys]`, finite.

    Returns:
        uint8 `[..., keys]`: `round(e * (255 / sum of e))`, the sum of whole numbers exact; the one
        division a row and its product are float32.

    Example:

        >>> integer_softmax(np.array([2.0, 2.0, -9.0], np.float32))
        array([128, 128,   0], dtype=uint8)
    """
    whole = np.rint(np.asarray(scores, np.float32) * np.float32(SCORE_UNIT)).astype(np.int64)
    powers = integer_exp(whole - whole.max(axis=-1, keepdims=True))
    total = powers.sum(axis=-1, keepdims=True).astype(np.float32)
    scaled = np.rint(powers.astype(np.float32) * (np.float32(255) / total))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def integer_root(number: int) -> int:
    """The largest whole number whose square is at most `number`; Newton's iteration, algorithm 4.

    Example:

        >>> integer_root(99)
        9
    """
    if number < 2:
        return number
    root: int = 1 << (number.bit_length() + 1) // 2
    while (following := (root + number // root) >> 1) < root:
        root = following
    return root


def integer_layer_norm(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    epsilon: float = 1e-5,
    output: QuantParams | None = None,
) -> np.ndarray:
    """LayerNorm over the last axis with whole mean, variance, root and quotient; algorithm 4.

    Args:
        x: float32 `[..., c]`, the residual sum.
        gamma, beta: float32 `[c]`; they are applied in float32, as is the quantization.
        epsilon: Added to the variance, which has steps of 2^-20; at most 1.
        output: How the result is written; None: float32.

    Returns:
        float32 or codes, `[..., c]`.

    Example:

        >>> x = np.array([[-1.0, 1.0]], np.float32)
        >>> integer_layer_norm(x, np.ones(2, np.float32), np.zeros(2, np.float32))
        array([[-1.,  1.]], dtype=float32)
    """
    columns = x.shape[-1]
    whole = np.rint(np.asarray(x, np.float32) * np.float32(NORM_UNIT))
    whole = np.clip(np.where(np.isnan(whole), -NORM_MOST, whole), -NORM_MOST, NORM_MOST)
    steps = whole.astype(np.int64).reshape(-1, columns)
    mean = (2 * steps.sum(axis=1, keepdims=True) + columns) // (2 * columns)
    deviations = steps - mean
    variances = (deviations**2).sum(axis=1) // columns
    added = int(np.rint(np.float32(epsilon) * np.float32(NORM_UNIT**2)))
    factors = [
        (1 << FACTOR_BITS) // max(1, integer_root((int(v) + added) << 2 * ROOT_BITS))
        for v in variances
    ]
    half = 1 << (RESULT_SHIFT - 1)
    normal = (deviations * np.array(factors, np.int64)[:, None] + half) >> RESULT_SHIFT
    y = normal.astype(np.float32) * np.float32(2.0**-NORM_RESULT_BITS)
    y = (y * gamma + beta).reshape(x.shape).astype(np.float32)
    return y if output is None else quantize(y, output)
