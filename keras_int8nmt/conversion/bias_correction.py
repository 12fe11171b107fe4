"""Bias correction: the mean error that int8 weights add to a product, taken off its bias.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.2: with the rounding error E of the weights, E[(W + E) x] = E[W x] + E E[x], so a bias
less E E[x] gives each output channel the mean that it has in float. E[x] is what calibration saw
(their appendix D), not derived from a batch norm. NumPy only.
"""

from __future__ import annotations

import numpy as np

from keras_int8nmt.quantization import quantize_weights


def corrected_bias(
    kernel: np.ndarray,
    bias: np.ndarray | None,
    input_mean: np.ndarray,
    *,
    per_channel: bool = True,
    weight_bits: int = 8,
) -> np.ndarray:
    """The bias with which int8 weights give the mean outputs that float weights give.

    Args:
        kernel: float `[k, n]`; quantized as `quantize_weights` does it.
        bias: float `[n]`, or None for zeros.
        input_mean: float `[k]`, the mean of each input channel in the float model.
        per_channel, weight_bits: As in `quantize_weights`.

    Returns:
        float32 `[n]`: computed in float64 and rounded once.

    Raises:
        ValueError: for an `input_mean` of another shape.

    Example:

        >>> kernel = np.array([[1.0], [0.3]], np.float32)
        >>> corrected_bias(kernel, None, np.array([0.0, 10.0]))  # 0.3 becomes 38 / 127
        array([0.00787401], dtype=float32)
    """
    if np.shape(input_mean) != (kernel.shape[0],):
        raise ValueError(
            f"The means must have shape ({kernel.shape[0]},), one for each input channel of a "
            f"kernel of shape {kernel.shape}; they have shape {np.shape(input_mean)}."
        )
    codes, scale = quantize_weights(kernel, per_channel, weight_bits)
    error = codes / scale.astype(np.float64) - kernel
    kept = np.zeros(kernel.shape[1]) if bias is None else np.asarray(bias, np.float64)
    return (kept - np.asarray(input_mean, np.float64) @ error).astype(np.float32)
