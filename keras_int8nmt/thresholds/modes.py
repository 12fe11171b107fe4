"""The names of the ways to choose thresholds, and what may stand behind a name."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

MODES = ("naive", "symmetric", "independent", "conjugate", "mse", "percentile", "entropy")
# Where nothing is said: the best of the modes on validation sets, see docs/accuracy.md.
DEFAULT_MODE = "independent"
DEFAULT_PERCENTILE = "99.99"


@dataclass(frozen=True)
class Mode:
    """A way to choose thresholds; see `calibration.find_thresholds`.

    Attributes:
        name: One of `MODES`.
        share: Of "percentile" alone: the share of the values that is not clipped, from 0 to 1. A
            fraction, since 99.9 per cent of 1,000 values are 999 of them and not one more.
    """

    name: str
    share: Fraction = Fraction(1)


def parse_mode(mode: str) -> Mode:
    """The mode that a text names: one of `MODES`, or "percentile:" and a number.

    Args:
        mode: Such as "symmetric", "percentile" (99.99 per cent) or "percentile:99.9".

    Raises:
        ValueError: for another name, and for a number that is not more than 0 and at most 100.

    Example:

        >>> parse_mode("percentile:99.9").share
        Fraction(999, 1000)
    """
    name, colon, number = mode.partition(":")
    if name not in MODES or (colon and name != "percentile"):
        raise ValueError(
            f"Unknown calibration mode {mode!r}; expected one of {', '.join(MODES)}, or "
            "'percentile:' and a number."
        )
    if name != "percentile":
        return Mode(name)
    try:
        percent = Fraction(number if colon else DEFAULT_PERCENTILE)
    except (ValueError, ZeroDivisionError):
        percent = Fraction(-1)
    if not 0 < percent <= 100:
        raise ValueError(
            f"Calibration mode {mode!r}: after the colon stands a number of per cent, more than 0 "
            "and at most 100, such as 'percentile:99.9'."
        )
    return Mode(name, percent / 100)
