"""`Switch`: one variable that tells a layer what to do, for layers without an observer."""

from __future__ import annotations

from typing import Any

import keras

from keras_int8nmt.layers.observing.own_state import OwnState

# What an observer, or a layer that simulates by itself, does: see `Observer`.
OFF, OBSERVING, SIMULATING = 0, 1, 2


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Switch(OwnState, keras.layers.Layer):
    """Holds the int32 variable `switch`: 0 off, 1 observing, 2 simulating; see `Observer`.

    It is a layer of its own because Keras saves the variables of `Embedding` by a fixed list.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.update(dtype="float32", trainable=False)
        super().__init__(**kwargs)

    def build(self, input_shape: Any = None) -> None:
        self.switch = self.add_weight(
            name="switch",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            autocast=False,
        )
        self.built = True

    def as_new(self) -> None:
        self.switch.assign(OFF)
