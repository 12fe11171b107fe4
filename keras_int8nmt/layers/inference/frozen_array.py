"""`FrozenArray`: an array of a converted layer as Keras' `weights` show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from keras_int8nmt.errors import KerasInt8nmtError


class FrozenError(KerasInt8nmtError, ValueError):
    """Something would change a converted layer, which is for inference alone."""


class FrozenArray:
    """Name, shape, type and value of what a converted layer holds; nobody can assign it.

    Keras counts parameters and bytes by it (`summary`, `count_params`), and lists it in
    `get_weights`. It is no variable, since the layer computes with a form packed for the CPU that
    would not follow one: `variables` of a converted layer are empty.

    Args:
        path: Path of the layer and name in it.
        like: The array, for its shape and type.
        read: Gives the value, in the plain form in which it is saved.
    """

    trainable = False
    regularizer = None

    def __init__(self, path: str, like: np.ndarray, read: Callable[[], np.ndarray]) -> None:
        self.path = path
        self.name = path.rpartition("/")[2]
        self.shape = tuple(int(size) for size in like.shape)
        self.dtype = like.dtype.name
        self._read = read

    def numpy(self) -> np.ndarray:
        """The value."""
        return self._read()

    @property
    def value(self) -> np.ndarray:
        """The value."""
        return self._read()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._read(), dtype)

    def assign(self, value: Any) -> NoReturn:
        """Never works."""
        raise FrozenError(
            f"{self.path} can't be changed: converted layers are frozen. Change the float model "
            "and convert it again, or load a saved INT8 model."
        )

    def __repr__(self) -> str:
        return f"<FrozenArray path={self.path}, shape={self.shape}, dtype={self.dtype}>"
