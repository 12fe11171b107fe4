"""Thresholds that train: TQT (Jain et al. 2019, arXiv 1903.08066, section 3), `keras.ops` only.

With thresholds `l <= 0 <= h`, the lowest code n and the highest p, the step is `s = (h - l) /
(p - n)` (int8: l = -h, n = -127, p = 127; uint8 after ReLU: l = 0, n = 0, p = 255), and the code of
x before clipping is `k = round(x / s) + z`. The gradients of the value y that x becomes are

                      dy/dx    dy/dh                              dy/dl
    n <= k <= p       1        (round(x / s) - x / s) / (p - n)   minus that of h
    k > p             0        1                                  0
    k < n             0        0                                  1

which for symmetric codes is equation 6 of the paper, `dy/ds = round(x / s) - x / s | n | p`, and
the same derivation for a range with a zero point, whose own rounding passes straight through. What
trains is the base-2 logarithm of a threshold, `dy/d(log2 h) = h ln(2) dy/dh` (equation 7): steps
are relative and no threshold changes its sign. Unlike the paper's, scales are no powers of two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from keras_int8nmt.layers.observing.branches import traced_once
from keras_int8nmt.layers.observing.fake_quant import straight_through

WEIGHT_NAME = "log2_growth"


class Calibrated(Protocol):
    """What is asked of an observer."""

    threshold_min: Any
    threshold_max: Any
    quantizer: Any
    learned: LearnedThreshold


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class LearnedThreshold(keras.layers.Layer):
    """How far the thresholds of an observer have moved since they were set.

    It has no variables until `start` makes them, and they are weights while they train:
    `log2_growth`, float32 `[2]`, trainable, tells by which power of two (`rate` times it) the lower
    and the upper threshold have grown; symmetric codes use the second alone. `rate`, float32, is
    how many times faster than other weights they move. Growth and not the threshold itself trains,
    so that weight decay pulls towards the calibrated range.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.update(dtype="float32", autocast=False)
        super().__init__(**kwargs)
        self.active = False
        self.log2_growth: Any = None
        # Nothing to make yet; a layer that says it is not built would be traced for it again.
        self.built = True

    @property
    def weights(self) -> list[Any]:
        """What trains, and its rate; none where training is over."""
        return list(keras.layers.Layer.weights.fget(self)) if self.active else []

    @property
    def trainable(self) -> bool:
        return keras.layers.Layer.trainable.fget(self)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        # Where training is over, a model that is made trainable again leaves the thresholds alone.
        keras.layers.Layer.trainable.fset(self, value and getattr(self, "active", True))

    def start(self, rate: float | None = None) -> None:
        """Makes the thresholds trainable; what was learned before is kept."""
        if self.log2_growth is None:
            common: Any = {"dtype": "float32", "autocast": False}
            self.log2_growth = self.add_weight(
                name=WEIGHT_NAME, shape=(2,), initializer="zeros", trainable=True, **common
            )
            self.rate = self.add_weight(
                name="rate", shape=(), initializer="ones", trainable=False, **common
            )
        if rate is not None:
            self.rate.assign(rate)
        self.active = True
        self.trainable = True

    def reset(self) -> None:
        """Thresholds are those that were set; if they were training they train on from there."""
        if self.log2_growth is not None:
            self.log2_growth.assign(np.zeros(2, np.float32))

    def stop(self) -> None:
        """Thresholds train no longer and are those that were set."""
        self.reset()
        self.active = False
        self.trainable = False

    def grown(self, low: np.float32, high: np.float32) -> tuple[np.float32, np.float32]:
        """What the thresholds `(low, high)` have become, float32."""
        if not self.active:
            return low, high
        growth = np.exp2(np.asarray(self.log2_growth.numpy()) * np.float32(self.rate.numpy()))
        if low == -high:
            return np.float32(-(high * growth[1])), np.float32(high * growth[1])
        low, high = np.float32(low * growth[0]), np.float32(high * growth[1])
        # Equal sides by chance: a range with a zero point stays one.
        return low, np.nextafter(high, np.float32(np.inf)) if low == -high else high

    def save_own_variables(self, store: Any) -> None:
        if self.active:
            super().save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        if store.keys():
            self.start()
            super().load_own_variables(store)
        else:
            # A file of a time before training, or after it.
            self.reset()


def _rule(observer: Calibrated) -> tuple[Any, Any]:
    """`(quantizer [4], thresholds [2])` of an observer; the latter carry gradients."""
    quantizer = observer.quantizer.value
    thresholds = observer.threshold_min, observer.threshold_max
    bounds = ops.stack([t.value for t in thresholds])
    learned = observer.learned
    if not learned.active:
        return quantizer, bounds
    lowest, highest = quantizer[2], quantizer[3]
    exponent = learned.log2_growth.value * learned.rate.value
    growth = ops.exp(exponent * math.log(2.0))
    symmetric = ops.less(lowest, 0.0)
    bounds = bounds * ops.where(symmetric, growth[1], growth)
    scale = (highest - lowest) / (bounds[1] - bounds[0])
    zero_point = ops.where(symmetric, 0.0, ops.round(-bounds[0] * scale))
    return ops.stop_gradient(ops.stack([scale, zero_point, lowest, highest])), bounds


@traced_once(((None,), "float32"), ((4,), "float32"), ((2,), "float32"))
def _fake_quantize(x: Any, quantizer: Any, bounds: Any) -> Any:
    quantizer = ops.stop_gradient(quantizer)
    scale, zero_point, lowest, highest = (quantizer[i] for i in range(4))
    exact = ops.stop_gradient(x) * scale
    nearest = ops.round(exact)
    codes = nearest + zero_point
    values = (ops.clip(codes, lowest, highest) - zero_point) * (1.0 / scale)
    step = (bounds[1] - bounds[0]) / (highest - lowest)
    # Its value is about that of `values`; what counts are its gradients.
    rounded = x + (nearest - exact) * step
    above = ops.where(ops.greater(codes, highest), bounds[1], rounded)
    return straight_through(values, ops.where(ops.less(codes, lowest), bounds[0], above))


def learned_numbers(observers: Sequence[Calibrated]) -> tuple[Any, Any]:
    """`(quantizer [4], thresholds [2])` of the first observer that has any."""
    quantizer, bounds = _rule(observers[0])
    for other in observers[1:]:
        missing = ops.isnan(quantizer[0])
        other_quantizer, other_bounds = _rule(other)
        quantizer = ops.where(missing, other_quantizer, quantizer)
        bounds = ops.where(missing, other_bounds, bounds)
    return quantizer, bounds


def fake_quantize_learned(x: Any, quantizer: Any, bounds: Any) -> Any:
    """`x` as its codes stand for it, with gradients for the thresholds.

    Args:
        x: Float tensor.
        quantizer, bounds: As `learned_numbers` gives them.
    """
    values = _fake_quantize(ops.reshape(ops.cast(x, "float32"), (-1,)), quantizer, bounds)
    return ops.cast(ops.reshape(values, ops.shape(x)), x.dtype)


def with_learned(config: dict[str, Any] | None, observers: Sequence[Any]) -> Any:
    """The build config of a layer, with the names of the observers whose thresholds train.

    So that a model that is loaded to train on has all its weights before it has an optimizer.
    """
    names = [observer.name for observer in observers if observer.learned.active]
    return {**config, WEIGHT_NAME: names} if config and names else config


def split_learned(config: dict[str, Any] | None) -> tuple[Any, list[str]]:
    """What `with_learned` put together: the layer's own build config, and the names."""
    if not config or WEIGHT_NAME not in config:
        return config, []
    return {k: v for k, v in config.items() if k != WEIGHT_NAME}, list(config[WEIGHT_NAME])


def start_learned(observers: Sequence[Any], names: Sequence[str]) -> None:
    """Makes the thresholds of the observers of these names trainable."""
    for observer in observers:
        if observer.name in names:
            observer.learned.start()
