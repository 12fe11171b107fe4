"""A threshold by the mean squared error of quantization.

Values are taken as spread evenly over their bin. With codes 0 to m for the range from 0 to T, the
step is s = T / m, and the error of rounding, squared and integrated from 0 to x, is

    n * s^3 / 12 + (x - n * s)^3 / 3,    n = round(x / s),

since each of the n whole steps below x gives s^3 / 12. What lies beyond T is off by x - T.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# How many thresholds the first, coarse round looks at.
_COARSE = 128
# Errors that differ by less are equal but for rounding.
_EQUAL = 1 + 1e-6


def mse_bins(counts: np.ndarray, levels: int) -> int:
    """How many bins from zero outwards to keep, by the smallest squared error.

    First about 128 edges, evenly spaced, are looked at, then every edge around the best of these.

    Args:
        counts: Counts of one side, from zero outwards.
        levels: Integer levels on this side; the highest code is one less.

    Returns:
        The threshold in bins, from 0 (no counts) to the last occupied bin + 1. Of equally good
        ones the largest, which clips the least.
    """
    occupied = np.flatnonzero(counts)
    if occupied.size == 0:
        return 0
    used = int(occupied[-1]) + 1
    counts = counts[:used].astype(np.float64)
    # Zeros, as of ReLU, have a code of their own and no error.
    counts[0] = 0
    if not counts.any():
        return used
    stride = max(1, used // _COARSE)
    best = _best(counts, levels - 1, range(used, 0, -stride))
    nearby = range(min(used, best + stride), max(0, best - stride), -1)
    return _best(counts, levels - 1, nearby)


def _best(counts: np.ndarray, highest: int, candidates: Iterable[int]) -> int:
    errors = {kept: squared_error(counts, kept, highest) for kept in candidates}
    least = min(errors.values())
    return max(kept for kept, error in errors.items() if error <= least * _EQUAL)


def squared_error(counts: np.ndarray, kept: int, highest: int) -> float:
    """The sum of the squared errors of all values, in squares of a bin's width.

    Args:
        counts: Counts of one side, from zero outwards.
        kept: The threshold, in bins.
        highest: The code of the threshold; 0 has the code 0.
    """
    step = kept / highest
    edges = np.arange(kept + 1)
    whole = np.rint(edges / step)
    integral = whole * step**3 / 12 + (edges - whole * step) ** 3 / 3
    distance = np.arange(len(counts) - kept)
    clipped = distance * (distance + 1) + 1 / 3
    return float(counts[:kept] @ np.diff(integral) + counts[kept:] @ clipped)
