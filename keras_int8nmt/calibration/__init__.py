"""Calibration: histograms in, thresholds out (arXiv 1906.00532, section 4).

All but `state` knows NumPy only. The functions that walk a model are loaded on first use, so that
importing a histogram chooses no Keras back end.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from keras_int8nmt.calibration.distribution import classify, clipped_mass, sqnr_db
from keras_int8nmt.calibration.errors import CalibrationError, NotCalibratedError
from keras_int8nmt.calibration.histogram import Histogram
from keras_int8nmt.calibration.modes import DEFAULT_MODE, MODES, parse_mode
from keras_int8nmt.calibration.threshold import find_thresholds

if TYPE_CHECKING:
    from keras_int8nmt.calibration.state import (
        observers,
        reset,
        set_state,
        settle,
        simulate,
        without_statistics,
    )
    from keras_int8nmt.calibration.training import finish_training, prepare_training

_STATE = ("observers", "reset", "set_state", "settle", "simulate", "without_statistics")
_HOMES = {
    **dict.fromkeys(_STATE, "state"),
    **dict.fromkeys(("finish_training", "prepare_training"), "training"),
}

__all__ = [
    "DEFAULT_MODE",
    "MODES",
    "CalibrationError",
    "Histogram",
    "NotCalibratedError",
    "classify",
    "clipped_mass",
    "find_thresholds",
    "finish_training",
    "observers",
    "parse_mode",
    "prepare_training",
    "reset",
    "set_state",
    "settle",
    "simulate",
    "sqnr_db",
    "without_statistics",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
