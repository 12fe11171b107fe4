"""What can go wrong with calibration; each error names the layers."""

from __future__ import annotations

from collections.abc import Sequence

from keras_int8nmt.errors import KerasInt8nmtError

# Names that a message lists.
_NAMED = 3


def few(names: Sequence[str]) -> str:
    """Some names in one line, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


class CalibrationError(KerasInt8nmtError, ValueError):
    """Thresholds can't be chosen from what was observed."""


class NotCalibratedError(CalibrationError):
    """Thresholds were asked for before calibration; `paths` names the observers."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = list(paths)
        super().__init__(
            f"{len(paths)} observers have no thresholds ({few(paths)}); calibrate first "
            "(CalibrationCallback with evaluate, predict or fit)."
        )
