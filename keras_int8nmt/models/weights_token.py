"""How it is noticed that weights have changed, without a copy of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt.keras_engine.forks import check_tensorflow


class WeightsToken:
    """The values of some weights as they are now; equal to another while none has changed.

    TensorFlow writes no value in place that somebody else holds. So as long as these are held, a
    weight that has changed is one that lies elsewhere.
    """

    def __init__(self, weights: Iterable[Any]) -> None:
        check_tensorflow()
        self._held = [tf.convert_to_tensor(weight) for weight in weights]
        self._addresses = [np.asarray(memoryview(w)).ctypes.data for w in self._held]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WeightsToken) and self._addresses == other._addresses

    __hash__ = None  # type: ignore[assignment]
