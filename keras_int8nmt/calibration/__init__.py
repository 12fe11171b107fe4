"""Calibration: sentences in, calibrated model out (arXiv 1906.00532, section 4).

This face also has what others need of histograms, thresholds and the state of a model; each name is
loaded on first use, so that importing a histogram chooses no Keras back end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "DEFAULT_MODE": "thresholds.modes",
    "MODES": "thresholds.modes",
    "ThresholdMode": "thresholds.modes",
    "parse_mode": "thresholds.modes",
    "register_mode": "thresholds.modes",
    "classify": "thresholds.distribution",
    "clipped_mass": "thresholds.distribution",
    "sqnr_db": "thresholds.distribution",
    "CalibrationError": "thresholds.errors",
    "NotCalibratedError": "thresholds.errors",
    "Histogram": "thresholds.histogram",
    "find_thresholds": "thresholds.find",
    "observers": "layers.model_state",
    "reset": "layers.model_state",
    "set_state": "layers.model_state",
    "settle": "layers.model_state",
    "simulate": "layers.model_state",
    "without_statistics": "layers.model_state",
    "finish_training": "layers.model_training",
    "prepare_training": "layers.model_training",
    "calibrate": "calibration.from_sentences",
}

__all__ = [
    "DEFAULT_MODE",
    "MODES",
    "CalibrationError",
    "Histogram",
    "NotCalibratedError",
    "ThresholdMode",
    "calibrate",
    "classify",
    "clipped_mass",
    "find_thresholds",
    "finish_training",
    "observers",
    "parse_mode",
    "prepare_training",
    "register_mode",
    "reset",
    "set_state",
    "settle",
    "simulate",
    "sqnr_db",
    "without_statistics",
]

if TYPE_CHECKING:
    from keras_int8nmt.calibration.from_sentences import calibrate
    from keras_int8nmt.layers.model_state import (
        observers,
        reset,
        set_state,
        settle,
        simulate,
        without_statistics,
    )
    from keras_int8nmt.layers.model_training import finish_training, prepare_training
    from keras_int8nmt.thresholds.distribution import classify, clipped_mass, sqnr_db
    from keras_int8nmt.thresholds.errors import CalibrationError, NotCalibratedError
    from keras_int8nmt.thresholds.find import find_thresholds
    from keras_int8nmt.thresholds.histogram import Histogram
    from keras_int8nmt.thresholds.modes import (
        DEFAULT_MODE,
        MODES,
        ThresholdMode,
        parse_mode,
        register_mode,
    )
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
