"""A threshold that clips a given share of the values and no more."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from keras_int8nmt.thresholds.sides import Sides, Thresholds, on_magnitudes

DEFAULT_PERCENTILE = "99.99"


def read_percentile(text: str) -> Fraction:
    """The share that a number of per cent such as "99.9" stands for, from 0 to 1."""
    try:
        percent = Fraction(text)
    except (ValueError, ZeroDivisionError):
        percent = Fraction(-1)
    if not 0 < percent <= 100:
        raise ValueError(
            "after the colon stands a number of per cent, more than 0 and at most 100, such as "
            "'percentile:99.9'."
        )
    return percent / 100


def percentile_thresholds(sides: Sides, share: Fraction) -> Thresholds:
    """The thresholds that clip all but `share` of the values."""
    return on_magnitudes(sides, lambda counts, levels: percentile_bins(counts, share))


def percentile_bins(counts: np.ndarray, share: Fraction) -> int:
    """How many bins from zero outwards hold at least this share of the values.

    Args:
        counts: Counts of one side, from zero outwards, not all 0.
        share: From 0 to 1; a fraction, since 0.999 of 1,000 values are 999 and not one more.

    Returns:
        The smallest such number of bins, at least 1.
    """
    sums = np.cumsum(counts)
    return int(np.searchsorted(sums, max(1, math.ceil(share * int(sums[-1]))))) + 1
