"""From a pair of thresholds to codes: scale, zero point and the numbers that a graph rounds by."""

from __future__ import annotations

import numpy as np

from keras_int8nmt.quantization import QuantParams, params_from_thresholds

_CODE_RANGE = {"int8": (-127.0, 127.0), "uint8": (0.0, 255.0)}


def params_of(low: np.float32, high: np.float32, signed: bool) -> QuantParams:
    """Scale, zero point and integer type of a tensor with these thresholds.

    Args:
        low: At most 0.
        high: At least 0.
        signed: Whether it is symmetric int8 in any case.
    """
    if signed:
        largest = max(abs(low), abs(high))
        if largest == 0:
            return QuantParams(np.float32(1), 0, "int8")
        low, high = -largest, largest
    # Equal sides are what the symmetric modes give; anything else is worth a zero point.
    symmetric = bool(low < 0 and low == -high)
    return params_from_thresholds(float(low), float(high), symmetric=symmetric)


def quantizer_numbers(params: QuantParams) -> np.ndarray:
    """float32 `[4]`: scale, zero point, lowest and highest code."""
    lowest, highest = _CODE_RANGE[params.dtype]
    return np.array([params.scale, params.zero_point, lowest, highest], np.float32)
