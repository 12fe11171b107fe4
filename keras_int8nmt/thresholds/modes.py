"""The ways to choose thresholds: one table, of which names, messages and help are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from keras_int8nmt.thresholds.entropy import entropy_bins
from keras_int8nmt.thresholds.kl import kl_bins
from keras_int8nmt.thresholds.mse import mse_bins
from keras_int8nmt.thresholds.percentile import (
    DEFAULT_PERCENTILE,
    percentile_thresholds,
    read_percentile,
)
from keras_int8nmt.thresholds.sides import (
    Sides,
    Thresholds,
    on_each_side,
    on_magnitudes,
    whole_range,
)

# Where nothing is said: the best of the modes on validation sets, see docs/accuracy.md.
DEFAULT_MODE = "independent"


@dataclass(frozen=True)
class ThresholdMode:
    """A way to choose thresholds: a row of the table.

    Attributes:
        name: What it is asked for by; letters, digits and "_" alone.
        help: What it does, in a few words, as the command line tells it.
        choose: Function of `Sides` (and of the number, of a mode that takes one) to
            `(threshold_min, threshold_max)`, where min <= 0 <= max. It gets the counts of what was
            seen, and says nothing of data that can't be calibrated: that was refused before.
        read_number: Of a mode that takes a number, as in "percentile:99.9": reads the text after
            the colon; a ValueError says what should stand there.
        default_number: That text where there is none.
    """

    name: str
    help: str
    choose: Callable[..., Thresholds]
    read_number: Callable[[str], Fraction] | None = None
    default_number: str = ""


# `naive` and the KL searches are the modes of arXiv 1906.00532, section 4.2. But for `naive`, a
# tensor without negative values is searched on its one side with 256 levels, and the lower
# threshold is 0. A new mode joins here.
_ROWS = (
    ThresholdMode("naive", "the smallest and the largest value", whole_range),
    ThresholdMode(
        "symmetric",
        "KL divergence on the distribution of magnitudes",
        partial(on_magnitudes, search=kl_bins),
    ),
    ThresholdMode(
        "independent",
        "KL divergence on each side of zero by itself",
        partial(on_each_side, search=kl_bins),
    ),
    ThresholdMode(
        "conjugate",
        "like independent, then the larger of both on both sides",
        partial(on_each_side, search=kl_bins, alike=True),
    ),
    ThresholdMode(
        "mse",
        "the least mean squared error, on magnitudes",
        partial(on_magnitudes, search=mse_bins),
    ),
    ThresholdMode(
        "percentile",
        f"{DEFAULT_PERCENTILE} per cent of all magnitudes are not clipped, or as many as "
        "percentile:NUMBER says",
        percentile_thresholds,
        read_percentile,
        DEFAULT_PERCENTILE,
    ),
    ThresholdMode(
        "entropy",
        "TensorRT's published calibration, on magnitudes",
        partial(on_magnitudes, search=entropy_bins),
    ),
)
_TABLE = {row.name: row for row in _ROWS}

# The modes that come with the package.
MODES = tuple(_TABLE)


def register_mode(mode: ThresholdMode) -> None:
    """Adds a row: calibration, autotuning and the command line take the mode by its name.

    Raises:
        ValueError: for a name that is taken, or that is no name.
    """
    if mode.name in _TABLE:
        raise ValueError(f"There is a calibration mode {mode.name!r} already.")
    if not mode.name.isidentifier():
        raise ValueError(f"{mode.name!r} can't be the name of a calibration mode.")
    _TABLE[mode.name] = mode


@dataclass(frozen=True)
class Mode:
    """What a text such as "percentile:99.9" asks for.

    Attributes:
        name: Of a row of the table.
        share: The number after the colon, of a mode that takes one. That of "percentile" is the
            share of the values that is not clipped, from 0 to 1: a fraction, since 99.9 per cent
            of 1,000 values are 999 of them and not one more.
    """

    name: str
    share: Fraction = Fraction(1)

    def choose(self, sides: Sides) -> Thresholds:
        """The thresholds of `Sides`."""
        row = _TABLE[self.name]
        return row.choose(sides) if row.read_number is None else row.choose(sides, self.share)


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
    row = _TABLE.get(name)
    if row is None or (colon and row.read_number is None):
        numbered = [f"'{row.name}:' and a number" for row in _TABLE.values() if row.read_number]
        raise ValueError(
            f"Unknown calibration mode {mode!r}; expected one of "
            f"{', '.join([*_TABLE, *numbered[:-1]])}, or {numbered[-1]}."
        )
    if row.read_number is None:
        return Mode(name)
    try:
        return Mode(name, row.read_number(number if colon else row.default_number))
    except ValueError as error:
        raise ValueError(f"Calibration mode {mode!r}: {error}") from error


def modes_help() -> str:
    """Each mode and what it does, on one line."""
    return "; ".join(f"{row.name}: {row.help}" for row in _TABLE.values())
