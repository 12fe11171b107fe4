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
from keras_int8nmt.calibration.modes import MODES, parse_mode
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

_MODEL_FUNCTIONS = (
    "observers",
    "reset",
    "set_state",
    "settle",
    "simulate",
    "without_statistics",
)

__all__ = [
    "MODES",
    "CalibrationError",
    "Histogram",
    "NotCalibratedError",
    "classify",
    "clipped_mass",
    "find_thresholds",
    "observers",
    "parse_mode",
    "reset",
    "set_state",
    "settle",
    "simulate",
    "sqnr_db",
    "without_statistics",
]


def __getattr__(name: str) -> Any:
    if name not in _MODEL_FUNCTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("keras_int8nmt.calibration.state"), name)
