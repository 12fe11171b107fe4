"""Variables that tell layers what to do, what graphs make of them, and a layer that holds one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.observing.branches import (
    in_tensorflow_graph,
    tensorflow_graph,
    value_while_traced,
)
from keras_int8nmt.layers.observing.own_state import OwnState

# What an observer, or a layer that simulates by itself, does: see `Observer`.
OFF, OBSERVING, SIMULATING = 0, 1, 2

# The graph that leaves out what is off, and the switches that were found off, by identity.
_LEFT_OUT: ContextVar[tuple[Any, dict[int, Any]] | None] = ContextVar("left_out", default=None)


@contextmanager
def off_left_out(found: dict[int, Any]) -> Iterator[None]:
    """The TensorFlow graph that is traced in this block has no branch for what is off.

    It does not follow the switches: whoever runs it asks before whether they are as they were.
    Graphs within it, such as those of a `tf.function` that is called elsewhere as well, have all
    their branches.

    Args:
        found: Where the switches that are off are noted, by their identities.
    """
    before = _LEFT_OUT.set((tensorflow_graph(), found) if in_tensorflow_graph() else None)
    try:
        yield
    finally:
        _LEFT_OUT.reset(before)


def says(switch: Any, state: int) -> Any:
    """Whether a switch says OBSERVING, or SIMULATING.

    Returns:
        A bool scalar; `False` itself where that is known for as long as the graph will run, so that
        there is nothing to choose.
    """
    left_out = _LEFT_OUT.get()
    if left_out is not None and tensorflow_graph() is left_out[0]:
        is_off = value_while_traced(switch) == OFF
        if is_off:
            left_out[1][id(switch)] = switch
            return False
    return ops.equal(switch.value, state)


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Switch(OwnState, keras.layers.Layer):
    """Holds the int32 variable `switch`: 0 off, 1 observing, 2 simulating; see `Observer`.

    It is a layer of its own because Keras saves the variables of `Embedding` by a fixed list.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.update(dtype="float32", trainable=False)
        super().__init__(**kwargs)

    def build(self, input_shape: Any = None) -> None:
        self.switch = self.add_state("switch", "int32")
        self.built = True

    def as_new(self) -> None:
        self.switch.assign(OFF)
