"""Keras callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "CalibrationCallback": "callbacks.calibration",
}

__all__ = [
    "CalibrationCallback",
]

if TYPE_CHECKING:
    from keras_int8nmt.callbacks.calibration import (
        CalibrationCallback,
    )
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
