"""`LightTraining`: a model that trains by the graph of a plain model while nothing observes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_int8nmt.layers.observing.switch import OFF, off_left_out


class LightTraining:
    """Beside `keras.Model`, before it: `fit` and `train_on_batch` trace little on TensorFlow.

    A large model has a hundred observers, and their branches are a third of the time until its
    first step. The graph of a training step therefore has none for what is off when it is traced;
    before each step the switches are looked at, and a graph that lacks a branch is traced anew.
    What the model computes is the same. `evaluate`, `predict`, a `tf.function` of the user's own
    and training under a strategy keep their branches, as does a model that `follows_switches`.

    Attributes:
        follows_switches: Whether graphs of training have all branches, since switches will change.
    """

    follows_switches: bool = False

    # Keras' own.
    train_function: Any

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        traced = getattr(self, "_traced", None)
        if traced is None or not traced.is_running or self.follows_switches:
            return super().train_step(*args, **kwargs)  # type: ignore[misc]
        with off_left_out(traced.left_out):
            return super().train_step(*args, **kwargs)  # type: ignore[misc]

    def make_train_function(self, force: bool = False) -> Any:
        before = self.train_function
        super().make_train_function(force)  # type: ignore[misc]
        if keras.config.backend() == "tensorflow" and self.train_function is not before:
            self.train_function = self._looking_at_switches(self.train_function)
        return self.train_function

    def _looking_at_switches(self, function: Callable[..., Any]) -> Callable[..., Any]:
        traced = self._traced = _Traced()

        def train(iterator: Any) -> Any:
            if traced.lacks_a_branch():
                # Traced with the branches of those that are on now.
                self.make_train_function(force=True)
                return self.train_function(iterator)
            traced.is_running = True
            try:
                return function(iterator)
            finally:
                traced.is_running = False

        return train


@dataclass
class _Traced:
    """What a function of training steps was traced without.

    Attributes:
        left_out: The switches that were off, by identity. Not an attribute of the model itself:
            Keras would take its variables for weights.
        is_running: Whether a step is that function's, and not one that a user traces.
    """

    left_out: dict[int, Any] = field(default_factory=dict)
    is_running: bool = False

    def lacks_a_branch(self) -> bool:
        """Whether something is on that was off when the graph was traced."""
        return any(int(switch.value) != OFF for switch in self.left_out.values())
