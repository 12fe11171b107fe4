"""Calibration: histograms in, thresholds out (arXiv 1906.00532, section 4).

`histogram` and `threshold` know NumPy only. The functions that walk a model are loaded on first
use, so that importing a histogram chooses no Keras back end.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from keras_int8nmt.calibration.errors import CalibrationError, NotCalibratedError
from keras_int8nmt.calibration.histogram import Histogram
from keras_int8nmt.calibration.threshold import (
    MODES,
    classify,
    clipped_mass,
    find_thresholds,
    sqnr_db,
)

if TYPE_CHECKING:
    from keras_int8nmt.calibration.state import observers, reset, set_state, settle, simulate
    from keras_int8nmt.calibration.training import finish_training, prepare_training

_HOMES = {
    **dict.fromkeys(("observers", "reset", "set_state", "settle", "simulate"), "state"),
    **dict.fromkeys(("finish_training", "prepare_training"), "training"),
}

__all__ = [
    "MODES",
    "CalibrationError",
    "Histogram",
    "NotCalibratedError",
    "classify",
    "clipped_mass",
    "find_thresholds",
    "finish_training",
    "observers",
    "prepare_training",
    "reset",
    "set_state",
    "settle",
    "simulate",
    "sqnr_db",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
