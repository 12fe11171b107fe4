"""From a histogram to thresholds: pure functions, NumPy only (arXiv 1906.00532, section 4.2)."""

from __future__ import annotations

from keras_int8nmt.thresholds.errors import CalibrationError
from keras_int8nmt.thresholds.histogram import Histogram
from keras_int8nmt.thresholds.modes import DEFAULT_MODE, parse_mode
from keras_int8nmt.thresholds.sides import Sides


def find_thresholds(
    histogram: Histogram, mode: str = DEFAULT_MODE, signed: bool = False, unsigned: bool = True
) -> tuple[float, float]:
    """Chooses the range that codes stand for.

    What each mode does is told in the table of `thresholds.modes`.

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
    one_side = histogram.minimum >= 0.0 and unsigned and not signed
    int8 = signed or (histogram.minimum >= 0.0 and not unsigned)
    return parsed.choose(Sides(histogram, int8, one_side))


def what_is_wrong(histogram: Histogram) -> str | None:
    """Why no threshold can be chosen from `histogram`, or None if one can."""
    if histogram.nonfinite:
        return f"{histogram.nonfinite} values were NaN or infinite"
    if histogram.total == 0:
        return "no data was seen"
    return None
