"""TensorFlow's values as NumPy arrays in the same memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def as_array(value: Any) -> np.ndarray:
    """A tensor, or a variable as it is now; nothing is copied, so it must not be written."""
    return np.asarray(memoryview(tf.convert_to_tensor(value)))
