"""The arrays of an .npz file, read one at a time: no pickle, no more bytes than it says."""

from __future__ import annotations

import math
import re
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_int8nmt.importers.tensors import Entry, float32_of
from keras_int8nmt.importers.weights_file import WeightsFile, short
from keras_int8nmt.importers.zip_archive import Member, deflated_members, member_pieces
from keras_int8nmt.importers.zip_unpacking import check_unpacked, read_unpacked

_MAGIC = b"\x93NUMPY"
# Version 1 of the header has a length of two bytes, later ones of four.
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
_MOST_HEADER = 1 << 12
_SUFFIX = ".npy"
# What NumPy and cnpy write; a shape of no axis is "()", of one "(3,)".
_HEADER = re.compile(
    r"\s*\{\s*'descr':\s*'([<>|=]?[a-zA-Z]\d{1,3})',\s*'fortran_order':\s*(True|False),"
    r"\s*'shape':\s*\(((?:\d{1,18}(?:,\s*\d{1,18})*,?)?)\),?\s*\}\s*"
)
_FLOATS = {"<f2": "float16", "<f4": "float32", "<f8": "float64"}
_BYTES = re.compile(r"[<|=]?[iu]1")


class Npz(NamedTuple):
    """What an .npz file holds.

    Attributes:
        entries: Its arrays of floats, by their names.
        texts: Its arrays of bytes, where each is by its name: `special:model.yml` is one.
    """

    entries: dict[str, Entry]
    texts: dict[str, bytes]


class _Array(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    columns_first: bool
    start: int


def read_npz(path: Path, error: type[Exception], most_text: int) -> Npz:
    """What a file holds; of its floats nothing is read yet.

    Args:
        path: The file.
        error: Raised for a file that is damaged, or holds arrays of neither floats nor bytes.
        most_text: An array of bytes of more is refused.
    """
    file = WeightsFile(path, error)
    found = deflated_members(file)
    check_unpacked(file, found.values())
    entries: dict[str, Entry] = {}
    texts: dict[str, bytes] = {}
    for member_name, member in found.items():
        name = member_name.removesuffix(_SUFFIX)
        if name == member_name:
            raise file.refused(f"has {short(member_name)}, which is no {_SUFFIX}")
        array = _header(file, name, member)
        if _BYTES.fullmatch(array.dtype):
            content = read_unpacked(file, name, member, most_text + array.start)
            texts[name] = bytes(content[array.start :])
        elif array.dtype in _FLOATS:
            entries[name] = _entry(file, member, array)
        else:
            raise file.not_floats(name, array.dtype)
    return Npz(entries, texts)


def _header(file: WeightsFile, name: str, member: Member) -> _Array:
    """What an array's header says, checked against the member that it begins."""

    def damaged() -> Exception:
        return file.damaged(f"{short(name)} is no array of NumPy")

    if member.length < len(_MAGIC) + 4:
        raise damaged()
    if member.method:
        # A piece of at most a MiB; its checksum is looked at with the rest of it.
        content = next(islice(member_pieces(file, member), 1), b"")
    else:
        length = min(member.length, _MOST_HEADER + len(_MAGIC) + 6)
        content = bytes(file.read(member.offset, length))
    if not content.startswith(_MAGIC) or len(content) < len(_MAGIC) + 6:
        raise damaged()
    width = _LENGTH_BYTES.get(content[len(_MAGIC)], 0)
    begin = len(_MAGIC) + 2 + width
    start = begin + int.from_bytes(content[begin - width : begin], "little")
    if not width or start - begin > _MOST_HEADER or start > len(content):
        raise damaged()
    told = _HEADER.fullmatch(content[begin:start].decode("latin-1"))
    if told is None:
        raise damaged()
    dtype, order, sizes = told.groups()
    shape = file.shape(name, [int(size) for size in re.findall(r"\d+", sizes)])
    size = int(dtype.lstrip("<>|=")[1:])
    if start + math.prod(shape) * size != member.length:
        raise file.damaged(
            f"tensor {short(name)} of shape {shape} has {member.length - start} bytes"
        )
    return _Array(dtype, shape, order == "True", start)


def _entry(file: WeightsFile, member: Member, array: _Array) -> Entry:
    def read() -> np.ndarray:
        # Without the header, wherever it ends: floats lie where a CPU likes them to.
        content = np.empty(member.length - array.start, np.uint8)
        at = -array.start
        for piece in member_pieces(file, member):
            begin, at = at, at + len(piece)
            if at > 0:
                part = np.frombuffer(piece, np.uint8)[max(-begin, 0) :]
                content[max(begin, 0) : at] = part
        values = float32_of(content.data, _FLOATS[array.dtype])
        if array.columns_first:
            return np.ascontiguousarray(values.reshape(array.shape[::-1]).T)
        return values.reshape(array.shape)

    return Entry(array.shape, _FLOATS[array.dtype], read)
