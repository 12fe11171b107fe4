"""Models whose weights are numbers: a NaN is told before it is lost in codes or in a ReLU."""

from __future__ import annotations

import keras

from keras_int8nmt.layers.inference.arrays import require_finite_array
from keras_int8nmt.layers.matmuls import view
from keras_int8nmt.layers.model_state import every_observer


def require_finite(model: keras.layers.Layer) -> None:
    """Whether all weights of a built model are finite.

    What observers hold is left out: thresholds are NaN until they are calibrated.

    Raises:
        NotFiniteError: naming the first weight that has a NaN or an infinity, and where.
    """
    watched = {id(weight) for observer in every_observer(model) for weight in observer.weights}
    for weight in model.weights:
        if id(weight) not in watched:
            require_finite_array(weight.path, view(weight))
