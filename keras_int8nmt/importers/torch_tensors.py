"""What both formats of `torch.save` share: from a pickled `state_dict` to entries by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_int8nmt.importers.tensor_pickle import PickledTensor, Storage
from keras_int8nmt.importers.tensors import FLOAT_BYTES, Entry, float32_of
from keras_int8nmt.importers.weights_file import WeightsFile, short

# Of a storage's bytes: tables that are shared are there by up to four names.
_MOST_SHARED = 8


class Place(NamedTuple):
    """Where the bytes of a storage lie.

    Attributes:
        offset: The first one.
        length: How many.
        check: Called before they are first used; raises where they were changed.
    """

    offset: int
    length: int
    check: Callable[[], None] = lambda: None


def torch_entries(file: WeightsFile, value: Any, places: Mapping[str, Place]) -> dict[str, Entry]:
    """The tensors of a `state_dict`.

    Args:
        file: The file that they lie in.
        value: What was pickled.
        places: Of the storages, by their keys.

    Raises:
        The file's error: where it is something else, or a tensor reaches out of its storage.
    """
    if type(value) is not dict or not all(
        isinstance(name, str) and isinstance(tensor, PickledTensor)
        for name, tensor in value.items()
    ):
        raise file.refused("holds no tensors by their names (a state_dict)")
    entries = {name: _entry(file, name, tensor, places) for name, tensor in value.items()}
    taken = sum(math.prod(e.shape) * FLOAT_BYTES[e.dtype] for e in entries.values())
    if taken > _MOST_SHARED * sum(place.length for place in places.values()):
        raise file.damaged("many of its tensors are the same bytes")
    return entries


def check_storage(file: WeightsFile, storage: Storage, length: int) -> None:
    """Raises the file's error where a storage has not the bytes that its pickle says."""
    if storage.elements * storage.item_bytes != length:
        raise file.damaged(
            f"storage {short(storage.key)} has {length} bytes, and its pickle says "
            f"{storage.elements * storage.item_bytes}"
        )


def _entry(
    file: WeightsFile, name: str, tensor: PickledTensor, places: Mapping[str, Place]
) -> Entry:
    storage, offset, size, stride = tensor
    place = places.get(storage.key)
    if place is None:
        raise file.damaged(f"there is no storage {short(storage.key)} of tensor {short(name)}")
    check_storage(file, storage, place.length)
    if storage.dtype not in FLOAT_BYTES:
        raise file.not_floats(name, storage.dtype)
    # The elements from the first to the last one; with steps between them in any order.
    span = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=False))
    wrong = len(size) != len(stride) or 0 in size or math.prod(size) > span
    if wrong or not 0 <= offset <= offset + span <= storage.elements:
        raise file.damaged(
            f"tensor {short(name)} of size {size}, stride {stride} and offset {offset} is none of "
            f"a storage of {storage.elements}"
        )

    def read() -> np.ndarray:
        place.check()
        start = place.offset + offset * storage.item_bytes
        row = float32_of(file.read(start, span * storage.item_bytes), storage.dtype)
        if math.prod(size) == span and stride == _row_by_row(size):
            return row.reshape(size)
        steps = tuple(step * row.itemsize for step in stride)
        return np.lib.stride_tricks.as_strided(row, size, steps, writeable=False).copy()

    return Entry(size, storage.dtype, read)


def _row_by_row(size: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(size[axis + 1 :]) for axis in range(len(size)))
