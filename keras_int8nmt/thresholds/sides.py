"""A tensor's values as modes look at them: each side of zero, and how many levels it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_int8nmt.thresholds.histogram import HALF, Histogram

# Levels on one side of zero: int8 symmetric has 0..127, and so has each half of uint8 with a zero
# point. Data without negative values has the 256 levels of uint8 on its one side.
SIDE_LEVELS = 128
NON_NEGATIVE_LEVELS = 256

# The counts of a side from zero outwards, and how many integer levels it has, to the number of bins
# that are kept.
Search = Callable[[np.ndarray, int], float]
Thresholds = tuple[float, float]


@dataclass(frozen=True)
class Sides:
    """What was seen, and what it will be written as.

    Attributes:
        histogram: What was seen, not nothing.
        int8: Whether it becomes symmetric int8 in any case.
        one_side: Whether it has no negative values and becomes uint8.
    """

    histogram: Histogram
    int8: bool = False
    one_side: bool = False

    @property
    def low(self) -> float:
        """The smallest value, at most 0: zero must have a code."""
        return min(self.histogram.minimum, 0.0)

    @property
    def high(self) -> float:
        """The largest value, at least 0."""
        return max(self.histogram.maximum, 0.0)

    @property
    def positive(self) -> np.ndarray:
        """Counts from zero upwards."""
        return self.histogram.counts[HALF:]

    @property
    def negative(self) -> np.ndarray:
        """Counts from zero downwards."""
        return self.histogram.counts[:HALF][::-1]

    def threshold(self, search: Search, counts: np.ndarray, largest: float) -> float:
        """What `search` finds for one side; at most `largest`, which clips nothing."""
        levels = NON_NEGATIVE_LEVELS if self.one_side else SIDE_LEVELS
        return float(min(search(counts, levels) * self.histogram.width, largest))


def whole_range(sides: Sides) -> Thresholds:
    """The smallest and the largest value."""
    if not sides.int8:
        return sides.low, sides.high
    largest = max(-sides.low, sides.high)
    return -largest, largest


def on_magnitudes(sides: Sides, search: Search) -> Thresholds:
    """A search on the distribution of |x|, the result on both sides."""
    if sides.one_side:
        return 0.0, sides.threshold(search, sides.positive, sides.high)
    counts = sides.positive + sides.negative
    both = sides.threshold(search, counts, max(-sides.low, sides.high))
    return -both, both


def on_each_side(sides: Sides, search: Search, *, alike: bool = False) -> Thresholds:
    """A search on each side by itself; `alike`: the larger result on both sides."""
    if sides.one_side:
        return 0.0, sides.threshold(search, sides.positive, sides.high)
    low = -sides.threshold(search, sides.negative, -sides.low)
    high = sides.threshold(search, sides.positive, sides.high)
    if not (alike or sides.int8):
        return low, high
    both = max(-low, high)
    return -both, both
