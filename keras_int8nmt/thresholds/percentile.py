"""A threshold that clips a given share of the values and no more."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np


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
