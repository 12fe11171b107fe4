"""TensorFlow's values as NumPy arrays in the same memory, and whether they are numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt.errors import KerasInt8nmtError


class NotFiniteError(KerasInt8nmtError, ValueError, RuntimeError):
    """A weight is NaN or infinite; the message names it."""


def as_array(value: Any) -> np.ndarray:
    """A tensor, or a variable as it is now; nothing is copied, so it must not be written."""
    return np.asarray(memoryview(tf.convert_to_tensor(value)))


def require_finite_array(name: str, array: Any) -> None:
    """Raises a NotFiniteError that names `array` and the place of its first NaN or infinity."""
    array = np.asarray(array)
    if array.dtype.kind != "f":
        if array.dtype.name != "bfloat16":
            return
        array = array.astype(np.float32)
    with np.errstate(all="ignore"):
        # Most are finite, and then so is their sum: it takes a part of the time.
        if np.isfinite(array.sum()) or np.all(np.isfinite(array)):
            return
    at = np.argwhere(~np.isfinite(array))[0].tolist()
    raise NotFiniteError(
        f"The weight {name} has {array[tuple(at)]} at {at}; expected no NaN or infinity."
    )
