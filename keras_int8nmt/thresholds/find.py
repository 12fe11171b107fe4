"""From a histogram to thresholds: pure functions, NumPy only (arXiv 1906.00532, section 4.2)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from keras_int8nmt.thresholds.entropy import entropy_bins
from keras_int8nmt.thresholds.errors import CalibrationError
from keras_int8nmt.thresholds.histogram import HALF, Histogram
from keras_int8nmt.thresholds.kl import kl_bins
from keras_int8nmt.thresholds.modes import DEFAULT_MODE, Mode, parse_mode
from keras_int8nmt.thresholds.mse import mse_bins
from keras_int8nmt.thresholds.percentile import percentile_bins

# Levels on one side of zero: int8 symmetric has 0..127, and so has each half of uint8 with a zero
# point. Data without negative values has the 256 levels of uint8 on its one side.
SIDE_LEVELS = 128
NON_NEGATIVE_LEVELS = 256

# The counts of a side from zero outwards, and how many integer levels it has, to the number of bins
# that are kept.
_Search = Callable[[np.ndarray, int], float]
_SEARCHES: dict[str, _Search] = {
    "symmetric": kl_bins,
    "independent": kl_bins,
    "conjugate": kl_bins,
    "mse": mse_bins,
    "entropy": entropy_bins,
}
# The modes that look at each side by itself; the others look at |x|.
_PER_SIDE = ("independent", "conjugate")


def _search_of(mode: Mode) -> _Search:
    if mode.name == "percentile":
        return lambda counts, levels: percentile_bins(counts, mode.share)
    return _SEARCHES[mode.name]


def find_thresholds(
    histogram: Histogram, mode: str = DEFAULT_MODE, signed: bool = False, unsigned: bool = True
) -> tuple[float, float]:
    """Chooses the range that codes stand for.

    The modes of arXiv 1906.00532: `naive`: smallest and largest value seen; `symmetric`: KL search
    on the distribution of |x|, the result on both sides; `independent`: KL search on each side by
    itself; `conjugate`: like independent, then the larger of both on both sides.

    Others, on the distribution of |x| and with the result on both sides: `mse`: the smallest mean
    squared error of quantization; `percentile`: 99.99 per cent of the values are not clipped, or
    as many as a number says: `"percentile:99.9"`; `entropy`: TensorRT's published calibration (see
    `calibration.entropy`).

    Without negative values all but `naive` search the one side with 256 levels, and the lower
    threshold is 0.

    Args:
        histogram: What was seen.
        mode: One of `MODES`, or "percentile:" and a number.
        signed: Whether the tensor is symmetric int8 in any case: the thresholds are then
            `(-T, T)`, and the search counts the levels of int8.
        unsigned: Whether a tensor without negative values is uint8. False: it is treated as a
            signed one.

    Returns:
        `(threshold_min, threshold_max)`, `threshold_min <= 0 <= threshold_max`, float32 values.

    Raises:
        CalibrationError: if nothing was seen, or NaN or infinite values were.
        ValueError: for an unknown mode.

    Example:

        >>> find_thresholds(Histogram().add(np.array([0.5, 3.0])), "naive")
        (0.0, 3.0)
        >>> find_thresholds(Histogram().add(np.array([0.5, 3.0])), "naive", unsigned=False)
        (-3.0, 3.0)
    """
    parsed = parse_mode(mode)
    problem = what_is_wrong(histogram)
    if problem:
        raise CalibrationError(f"No thresholds can be chosen: {problem}.")
    # Zero must have a code, so the range always contains it.
    low, high = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    largest = max(-low, high)
    one_side = low == 0.0 and unsigned and not signed
    int8 = signed or (low == 0.0 and not unsigned)
    if parsed.name == "naive":
        return (-largest, largest) if int8 else (low, high)
    levels = NON_NEGATIVE_LEVELS if one_side else SIDE_LEVELS
    side = partial(_side, _search_of(parsed), levels, histogram.width)
    positive = histogram.counts[HALF:]
    negative = histogram.counts[:HALF][::-1]
    if one_side:
        return 0.0, side(positive, high)
    if parsed.name not in _PER_SIDE:
        both = side(positive + negative, largest)
        return -both, both
    low, high = -side(negative, -low), side(positive, high)
    if parsed.name == "independent" and not int8:
        return low, high
    both = max(-low, high)
    return -both, both


def _side(search: _Search, levels: int, width: float, counts: np.ndarray, largest: float) -> float:
    """The threshold of one side; what clips nothing is the largest value seen."""
    return float(min(search(counts, levels) * width, largest))


def what_is_wrong(histogram: Histogram) -> str | None:
    """Why no threshold can be chosen from `histogram`, or None if one can."""
    if histogram.nonfinite:
        return f"{histogram.nonfinite} values were NaN or infinite"
    if histogram.total == 0:
        return "no data was seen"
    return None
