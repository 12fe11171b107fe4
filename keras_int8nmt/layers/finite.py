"""Models whose weights are numbers: a NaN is told before it is lost in codes or in a ReLU."""

from __future__ import annotations

import keras

from keras_int8nmt.layers.inference.arrays import require_finite_array
from keras_int8nmt.layers.matmuls import view


def require_finite(model: keras.layers.Layer) -> None:
    """Whether all weights of a built model are finite.

    What observers hold is no weight: thresholds are NaN until they are calibrated.

    Raises:
        NotFiniteError: naming the first weight that has a NaN or an infinity, and where.
    """
    for weight in model.weights:
        require_finite_array(weight.path, view(weight))
