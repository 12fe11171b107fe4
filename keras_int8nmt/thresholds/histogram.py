"""`Histogram`: what an observer saw, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

BINS = 8192
HALF = BINS // 2
HALF_LOG2 = 12
# Magnitudes below 2^MIN_EXPONENT share the bins of that range; float32 ends below 2^MAX_EXPONENT.
MIN_EXPONENT = -100
MAX_EXPONENT = 128


def _no_counts() -> np.ndarray:
    return np.zeros(BINS, np.int64)


def exponent_of(largest: float) -> int:
    """The smallest e with `largest < 2^e`, within [MIN_EXPONENT, MAX_EXPONENT]."""
    if largest == 0:
        return MIN_EXPONENT
    return int(np.clip(np.frexp(largest)[1], MIN_EXPONENT, MAX_EXPONENT))


@dataclass(frozen=True)
class Histogram:
    """Counts of values in 8192 equal bins over [-2^exponent, 2^exponent).

    Bin i holds `-2^e + i * width <= x < -2^e + (i + 1) * width`, `width = 2^(e - 12)`. Every edge
    is a multiple of a power of two, so that widening (neighbours become one bin) loses nothing, and
    the order of batches does not matter.

    Args:
        counts: int64 `[8192]`.
        exponent: e.
        minimum, maximum: Smallest and largest finite value seen; +inf and -inf if none.
        nonfinite: How many values were NaN or infinite; they are counted nowhere else.

    Example:

        >>> Histogram().add(np.array([0.5, -3.0])).add(np.array([7.0])).exponent
        3
    """

    counts: np.ndarray = field(default_factory=_no_counts)
    exponent: int = MIN_EXPONENT
    minimum: float = np.inf
    maximum: float = -np.inf
    nonfinite: int = 0

    def __post_init__(self) -> None:
        if self.counts.shape != (BINS,):
            raise ValueError(
                f"A histogram has {BINS} counts; received an array of shape {self.counts.shape}."
            )

    @property
    def width(self) -> float:
        """Width of a bin."""
        return float(np.ldexp(1.0, self.exponent - HALF_LOG2))

    @property
    def total(self) -> int:
        """How many finite values were counted."""
        return int(self.counts.sum())

    def edges(self) -> np.ndarray:
        """The 8193 edges of the bins, float64."""
        return np.arange(-HALF, HALF + 1) * self.width

    def centers(self) -> np.ndarray:
        """The middle of each bin, float64."""
        return (np.arange(-HALF, HALF) + 0.5) * self.width

    def widen(self, exponent: int) -> Histogram:
        """The same counts over [-2^exponent, 2^exponent); `exponent` must not be smaller."""
        if exponent < self.exponent:
            raise ValueError(
                f"A histogram can only be widened: it has exponent {self.exponent}, asked for "
                f"{exponent}."
            )
        shift = min(exponent - self.exponent, HALF_LOG2 + 1)
        bins = (np.arange(-HALF, HALF) >> shift) + HALF
        counts = np.bincount(bins, weights=self.counts, minlength=BINS).astype(np.int64)
        return Histogram(counts, exponent, self.minimum, self.maximum, self.nonfinite)

    def merge(self, other: Histogram) -> Histogram:
        """Both together; commutative, associative and exact."""
        exponent = max(self.exponent, other.exponent)
        return Histogram(
            self.widen(exponent).counts + other.widen(exponent).counts,
            exponent,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.nonfinite + other.nonfinite,
        )

    def add(self, values: np.ndarray) -> Histogram:
        """This histogram with the values of one more batch (any shape, any float type)."""
        values = np.asarray(values, np.float32).ravel()
        finite = values[np.isfinite(values)]
        nonfinite = values.size - finite.size
        if finite.size == 0:
            return self.merge(Histogram(nonfinite=nonfinite))
        exponent = exponent_of(float(np.abs(finite).max()))
        scaled = np.floor(finite.astype(np.float64) * 2.0 ** (HALF_LOG2 - exponent))
        bins = scaled.astype(np.int64) + HALF
        batch = Histogram(
            np.bincount(bins, minlength=BINS),
            exponent,
            float(finite.min()),
            float(finite.max()),
            nonfinite,
        )
        return self.merge(batch)
