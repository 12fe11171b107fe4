"""`ModelSpec`: all that the native decoder needs of a model, as named settings and named tensors.

What a model is made of tells its own part: a dict of settings, arrays and further parts.
Their names are joined by dots ("decoder.0.cross.key_value.weights"). `cc/decoder/model.cc` reads
them by name and refuses what is missing, wrong or unknown. docs/model_spec.md lists all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keras_int8nmt._memory import dtype_of, is_array
from keras_int8nmt.errors import KerasInt8nmtError

FORMAT_VERSION = 2
DTYPES = ("float32", "int8", "uint8")

Setting = int | float | str
# A setting, an array or a further part by its name; a nested Mapping is not said in types.
Part = dict[str, Any]


class NotDescribableError(KerasInt8nmtError, ValueError):
    """The native decoder can't run this model; the message says why."""


@dataclass(frozen=True)
class ModelSpec:
    """A model for the native decoder.

    Attributes:
        settings: Whole numbers, floats and words by their names.
        tensors: float32, int8 and uint8 arrays, C-contiguous, by their names: NumPy's, or
            memoryviews, which the run side makes without NumPy. `np.asarray` takes both.
        packed: Whether weights of products are packed for this CPU, as the decoder reads them; if
            not they are int8 or float32 `[rows, columns]`, as they are stored.

    Raises:
        TypeError: for a setting or tensor of another type.
    """

    settings: Mapping[str, Setting]
    tensors: Mapping[str, Any]
    packed: bool = True

    def __post_init__(self) -> None:
        for name, value in self.settings.items():
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise TypeError(f"The setting {name} is {value!r}; expected int, float or str.")
        for name, tensor in self.tensors.items():
            if dtype_of(tensor) not in DTYPES:
                raise TypeError(f"The tensor {name} is no array of {', '.join(DTYPES)}.")
            view = memoryview(tensor)
            if not view.c_contiguous or not view.nbytes:
                raise TypeError(f"The tensor {name} is not C-contiguous, or has no elements.")

    @classmethod
    def of(cls, parts: Part, packed: bool = True) -> ModelSpec:
        """The spec of a whole model's part."""
        settings: dict[str, Setting] = {"format_version": FORMAT_VERSION}
        tensors: dict[str, Any] = {}
        for name, value in _flat(parts):
            if is_array(value):
                tensors[name] = value
            else:
                settings[name] = value
        return cls(settings, tensors, packed)

    @property
    def weights(self) -> list[str]:
        """Names of the tensors that are weights of products."""
        return [name for name in self.tensors if name.endswith(".weights")]


def _flat(part: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value
