"""`OwnState`: variables of a layer that are saved with it and are none of its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops


class OwnState:
    """Before `keras.layers.Layer` among the bases of what a Quant layer has beside its parent.

    Its variables are in `variables`, as those of Keras' seed generators are, and in saved files;
    they are not in `weights`, so that `get_weights`, `set_weights`, `count_params` and `summary` of
    a Quant layer are those of its Keras parent. A file of that parent has nothing for them: then
    they are as in a layer that nobody has calibrated.
    """

    @property
    def weights(self) -> list[Any]:
        """None."""
        return []

    def add_state(
        self, name: str, dtype: str, value: float = 0, shape: tuple[int, ...] = ()
    ) -> Any:
        """A new variable, every element `value`; it has no gradient.

        A model of a few blocks has a thousand of them. Keras' initializers take four operations
        each, a third of the time that it takes to build such a model; this takes one.
        """
        return self.add_weight(  # type: ignore[attr-defined]
            name=name,
            shape=shape,
            dtype=dtype,
            initializer=lambda shape, dtype: ops.convert_to_tensor(np.full(shape, value, dtype)),
            trainable=False,
            autocast=False,
        )

    def load_own_variables(self, store: Any) -> None:
        if self.built and not store.keys():  # type: ignore[attr-defined]
            self.as_new()
        else:
            super().load_own_variables(store)  # type: ignore[misc]

    def as_new(self) -> None:
        """Makes the variables what they were when they were built."""
        raise NotImplementedError
