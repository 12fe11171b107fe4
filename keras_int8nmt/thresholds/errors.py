"""What can go wrong with calibration; each error names the layers."""

from __future__ import annotations

from keras_int8nmt.errors import KerasInt8nmtError


class CalibrationError(KerasInt8nmtError, ValueError):
    """Thresholds can't be chosen from what was observed."""


class NotCalibratedError(CalibrationError):
    """Thresholds were asked for before calibration; `paths` names the observers."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = list(paths)
        listed = "\n  ".join(paths)
        super().__init__(
            f"{len(paths)} observers have no thresholds; calibrate first (CalibrationCallback with "
            f"evaluate, predict or fit):\n  {listed}"
        )
