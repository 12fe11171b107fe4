"""The header of a safetensors file: its length, then JSON, then the tensors' bytes in one row.

Every number in it is checked against the file before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from keras_int8nmt._untrusted import parse_json

LENGTH_BYTES = 8

# What safetensors calls its types, and the bytes of an element.
ITEM_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2"), 1),
}
# Those of a model of a hundred layers are a tenth of it.
MOST_HEADER = 16 << 20
_MOST_ELEMENTS = 1 << 48
_MOST_AXES = 8


class HeaderEntry(NamedTuple):
    """A tensor: its type, its shape, and where its bytes begin and end after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def parse_header(
    path: Path, length: int, size: int, read: Callable[[], Any], error: type[Exception]
) -> dict[str, HeaderEntry]:
    """The tensors of a file by their names.

    Args:
        path: The file, for messages.
        length: Of the header, as the first `LENGTH_BYTES` bytes say.
        size: Of the file.
        read: Gives the bytes of the header; called where there can be so many.
        error: Raised where something is wrong.
    """
    if length > min(MOST_HEADER, size - LENGTH_BYTES):
        raise error(
            f"{str(path)!r} is damaged: it has a header of {length} bytes in a file of {size}."
        )
    try:
        header = parse_json(bytes(read()))
    except ValueError as cause:
        raise error(f"{str(path)!r} is damaged: its header is not JSON: {cause}.") from cause
    if not isinstance(header, dict):
        raise error(f"{str(path)!r} is damaged: its header is no JSON object.")
    header.pop("__metadata__", None)
    entries = {name: _entry(path, name, value, error) for name, value in header.items()}
    data = size - LENGTH_BYTES - length
    # Every byte belongs to one tensor: what is not told could hide anything.
    position = 0
    for name, (dtype, shape, begin, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if end > data or end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
            raise error(
                f"{str(path)!r} is damaged: the tensor {name!r} of shape {list(shape)} takes bytes "
                f"{begin} to {end} of {data}, which does not fit."
            )
        if begin != position:
            raise error(f"{str(path)!r} is damaged: tensors overlap or leave a gap at {begin}.")
        position = end
    if position != data:
        raise error(
            f"{str(path)!r} is damaged: it has {data - position} bytes more than its tensors."
        )
    return entries


def _entry(path: Path, name: str, entry: Any, error: type[Exception]) -> HeaderEntry:
    def whole(value: Any) -> bool:
        return type(value) is int and 0 <= value < _MOST_ELEMENTS

    wrong = error(f"{str(path)!r} is damaged: the entry {name!r} of the header is no tensor.")
    if not isinstance(entry, dict):
        raise wrong
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise wrong
    for numbers in (shape, offsets):
        if (
            not isinstance(numbers, list)
            or len(numbers) > _MOST_AXES
            or not all(map(whole, numbers))
        ):
            raise wrong
    assert isinstance(shape, list)
    assert isinstance(offsets, list)
    if len(offsets) != 2 or offsets[0] > offsets[1] or math.prod(shape) >= _MOST_ELEMENTS:
        raise wrong
    return HeaderEntry(dtype, tuple(shape), offsets[0], offsets[1])
