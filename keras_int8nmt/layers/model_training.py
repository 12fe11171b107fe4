"""Quantization-aware training: thresholds that train with the weights, and what became of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_int8nmt.layers.model_state import observers, set_state
from keras_int8nmt.thresholds.errors import CalibrationError

# A shorter range has a step that float32 may not hold once it has shrunk.
_SHORTEST = 1e-30


def prepare_training(model: keras.layers.Layer, *, threshold_rate: float = 1.0) -> None:
    """Makes a calibrated model train as INT8: it simulates, and its thresholds are trained weights.

    Then `compile` and `fit` as ever, on TensorFlow or JAX. Rounding passes gradients straight
    through, and thresholds have the gradients of TQT (Jain et al. 2019, arXiv 1903.08066, equations
    6 to 8; `learned_threshold.py` states them): the logarithm of a threshold trains, so a
    step of an Adam-like optimizer is relative to it and needs no scaling by hand. Scales of weights
    follow from the weights, as in conversion: 127 / max |w| of each output channel. `convert` takes
    the learned thresholds; `finish_training` first makes a model that computes in float again.

    The model can be saved and loaded in between. Where Quant layers lie in a layer of your own, a
    loaded model must be compiled anew: Keras makes its optimizer before it knows these weights.

    Args:
        model: A calibrated model. Prepared again, it goes on from what it has learned.
        threshold_rate: How many times faster thresholds move than the optimizer's learning rate
            says (with Adam). The paper's learning rate of thresholds is 1e-2.

    Raises:
        NotCalibratedError: naming the observers that have no thresholds.
        ValueError: for a rate that is not positive, and a model that is not built or has no
            observers.

    Example:

        >>> model.evaluate(sample, callbacks=[CalibrationCallback()])
        >>> prepare_training(model, threshold_rate=10.0)
        >>> model.compile(keras.optimizers.Adam(1e-3), loss)  # which weights train has changed
        >>> model.fit(data)
        >>> int8 = convert(model)
    """
    if not (np.isfinite(threshold_rate) and threshold_rate > 0):
        raise ValueError(f"`threshold_rate` must be positive; it is {threshold_rate}.")
    set_state(model, "simulating")
    for _, observer in observers(model):
        if not observer.is_calibrated:
            continue
        low, high = observer.thresholds()
        # A tensor that was always zero has nothing to learn from.
        if high - low < _SHORTEST:
            continue
        if not observer.learned.active and observer.params().dtype == "int8":
            both = max(-low, high)
            observer.set_thresholds(float(-both), float(both))
        observer.learned.start(threshold_rate)
    _must_be_compiled(model)


def finish_training(model: keras.layers.Layer) -> dict[str, tuple[float, float]]:
    """Ends what `prepare_training` began: learned thresholds become the model's usual ones.

    The model computes in float again, as after calibration.

    Returns:
        The thresholds by path.

    Raises:
        CalibrationError: naming the thresholds that are no longer finite; nothing is changed then.
        ValueError: if no threshold of the model is trained.
    """
    learned = [(path, o) for path, o in observers(model) if o.learned.active]
    if not learned:
        raise ValueError(
            f"{model.name!r} has no thresholds that train; prepare_training comes before fit."
        )
    thresholds = {}
    for path, observer in learned:
        low, high = observer.thresholds()
        thresholds[path] = float(low), float(high)
    wrong = [path for path, pair in thresholds.items() if not np.all(np.isfinite(pair))]
    if wrong:
        raise CalibrationError(
            "Training diverged; the thresholds of these layers are not finite:\n  "
            + "\n  ".join(wrong)
        )
    for path, observer in learned:
        observer.learned.stop()
        observer.set_thresholds(*thresholds[path])
    set_state(model, "float")
    _must_be_compiled(model)
    return thresholds


def _must_be_compiled(model: Any) -> None:
    """Which weights train has changed: Keras says to call `compile`, and will say so in `fit`."""
    if isinstance(model, keras.Model):
        model.compiled = False
