"""The tensors of an HDF5 file as h5py writes them for Keras: groups, and datasets in one piece.

Read without the HDF5 library, which is not made for files from strangers, and without its ways to
other files: there are no external or virtual datasets and no links here. Attributes are passed
over: paths say all that is needed. Every number is checked against the file before it is used.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

from keras_int8nmt.importers.tensors import FLOAT_BYTES, Entry
from keras_int8nmt.importers.weights_file import WeightsFile, short

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_UNDEFINED = (1 << 64) - 1
# Objects, nodes and messages of all kinds; a checkpoint of a hundred layers has 30,000.
_MOST_STEPS = 100_000
_DEEPEST = 32
_MOST_NAMES = 1 << 20
_SYMBOL_BYTES = 40
# Messages of an object's header that say what a dataset is, and those that put it elsewhere.
_SPACE, _TYPE, _LAYOUT, _MORE, _GROUP = 0x01, 0x03, 0x08, 0x10, 0x11
_ELSEWHERE = {
    0x02: "links of another kind",
    0x06: "links of another kind",
    0x07: "data in other files",
    0x0B: "compressed data",
}
# A type's bits: size, then where exponent and mantissa lie, and the exponent's bias.
_FLOATS = {
    (4, 0, 32, 23, 8, 0, 23, 127): "float32",
    (2, 0, 16, 10, 5, 0, 10, 15): "float16",
    (8, 0, 64, 52, 11, 0, 52, 1023): "float64",
}


def read_hdf5(path: Path, error: type[Exception]) -> dict[str, Entry]:
    """The datasets of a file by their paths, such as "model/encoder/kernel:0"; none is read yet.

    Raises:
        The `error`: for a file that is damaged, or of a layout that Keras does not write.
    """
    reader = _Reader(WeightsFile(path, error))
    try:
        return reader.entries()
    except struct.error as cause:
        raise reader.file.damaged("a part of it is truncated") from cause


class _Reader:
    def __init__(self, file: WeightsFile) -> None:
        self.file = file
        self._steps = 0
        self._groups: set[int] = set()

    def entries(self) -> dict[str, Entry]:
        start = bytes(self.file.read(0, min(96, self.file.size)))
        if not start.startswith(SIGNATURE):
            raise self.file.refused("is no HDF5 file")
        version, offsets, lengths = struct.unpack_from("<B4xBB", start, 8)
        if version > 1 or (offsets, lengths) != (8, 8):
            raise self.file.refused("is HDF5 of a layout that Keras does not write")
        # Version 1 has four bytes more before its addresses.
        at = 24 + 4 * version
        base, _, end, _, _, root = struct.unpack_from("<6Q", start, at)
        if base or end > self.file.size:
            raise self.file.damaged(f"it says that it has {end} bytes, and it has {self.file.size}")
        found: dict[str, Entry] = {}
        taken = 0
        for name, entry in self._below("", root, 0):
            if name in found:
                raise self.file.damaged(f"it has {short(name)} twice")
            found[name] = entry
            taken += math.prod(entry.shape) * FLOAT_BYTES[entry.dtype]
        if taken > self.file.size:
            raise self.file.damaged("some of its datasets are the same bytes")
        return found

    def _below(self, path: str, header: int, depth: int) -> Iterator[tuple[str, Entry]]:
        """All datasets at or below an object, with their paths."""
        messages = dict(self._messages(path, header))
        if _GROUP not in messages:
            yield path.lstrip("/"), self._dataset(path, messages)
            return
        if depth > _DEEPEST or header in self._groups:
            raise self.file.damaged(f"its group {short(path)} is within itself")
        self._groups.add(header)
        tree, heap = struct.unpack_from("<2Q", messages[_GROUP])
        for name, child in self._children(path, tree, self._names(path, heap), 0):
            yield from self._below(f"{path}/{name}", child, depth + 1)

    def _messages(self, path: str, header: int) -> Iterator[tuple[int, bytes]]:
        """The messages of an object that count, by their types."""
        version, count, length = struct.unpack("<BxH4xL", self.file.read(header, 12))
        if version != 1:
            raise self.file.refused("is HDF5 of a layout that Keras does not write")
        blocks, seen = [(header + 16, length)], set()
        for begin, size in blocks:
            block = self._piece(begin, size)
            at = 0
            while at + 8 <= size and count:
                kind, length, flags = struct.unpack_from("<HHB", block, at)
                content = block[at + 8 : at + 8 + length]
                at, count = at + 8 + length, count - 1
                self._step()
                if kind == _MORE:
                    blocks.append(struct.unpack_from("<2Q", content))
                elif kind in _ELSEWHERE:
                    raise self.file.refused(f"has {_ELSEWHERE[kind]}, at {short(path)}")
                elif kind in (_SPACE, _TYPE, _LAYOUT, _GROUP):
                    if kind in seen or flags & 2:
                        raise self.file.damaged(f"{short(path)} is described twice or elsewhere")
                    seen.add(kind)
                    yield kind, content
        if count:
            raise self.file.damaged(f"the description of {short(path)} is truncated")

    def _names(self, path: str, heap: int) -> bytes:
        """What the names of a group lie in."""
        signature, size, data = struct.unpack("<4s4xQ8xQ", self.file.read(heap, 32))
        if signature != b"HEAP" or size > _MOST_NAMES:
            raise self.file.damaged(f"the names of group {short(path)} are damaged")
        return self._piece(data, size)

    def _children(
        self, path: str, node: int, names: bytes, depth: int
    ) -> Iterator[tuple[str, int]]:
        """Names and addresses of what a group holds, along its tree."""
        self._step()
        wrong = self.file.damaged(f"the tree of group {short(path)} is damaged")
        start = bytes(self.file.read(node, 8))
        if start[:4] == b"SNOD" and start[4] == 1:
            count = struct.unpack_from("<H", start, 6)[0]
            table = self._piece(node + 8, count * _SYMBOL_BYTES)
            for at in range(0, len(table), _SYMBOL_BYTES):
                name, header, cache = struct.unpack_from("<2QL", table, at)
                if cache not in (0, 1):
                    raise self.file.refused(f"has a link in group {short(path)}")
                yield self._name(path, names, name), header
            return
        if start[:5] != b"TREE\0" or depth > _DEEPEST:
            raise wrong
        level, count = struct.unpack_from("<BH", start, 5)
        # Between keys, each 8 bytes: the least name of a child.
        pairs = self._piece(node + 24, 8 + 16 * count)
        for at in range(8, len(pairs), 16):
            child = struct.unpack_from("<Q", pairs, at)[0]
            expected = b"TREE" if level else b"SNOD"
            if bytes(self.file.read(child, 4)) != expected:
                raise wrong
            yield from self._children(path, child, names, depth + 1)

    def _name(self, path: str, names: bytes, at: int) -> str:
        end = names.find(b"\0", at)
        if at >= len(names) or end <= at:
            raise self.file.damaged(f"a name in group {short(path)} is damaged")
        name = names[at:end].decode("utf-8", "surrogateescape")
        if "/" in name or not name.isprintable() or name in (".", ".."):
            raise self.file.damaged(f"group {short(path)} has the name {short(name)}")
        return name

    def _dataset(self, path: str, messages: dict[int, bytes]) -> Entry:
        if not {_SPACE, _TYPE, _LAYOUT} <= set(messages):
            raise self.file.damaged(f"{short(path)} is neither a group nor a dataset")
        shape = self.file.shape(path, self._shape(path, messages[_SPACE]))
        dtype = self._dtype(path, messages[_TYPE])
        layout = messages[_LAYOUT]
        # Version 3, contiguous; where nothing was written it has no address.
        offset, length = struct.unpack_from("<QQ", layout, 2) if layout[:2] == b"\3\1" else (-1, 0)
        if offset in (-1, _UNDEFINED):
            raise self.file.refused(f"has {short(path)} not in one piece, or empty")
        if length != math.prod(shape) * FLOAT_BYTES[dtype]:
            raise self.file.damaged(f"{short(path)} of shape {shape} has {length} bytes")
        return self.file.entry(path, offset, shape, dtype)

    def _shape(self, path: str, content: bytes) -> tuple[int, ...]:
        version, rank = struct.unpack_from("<BB", content)
        if version not in (1, 2) or (version == 2 and content[3] == 2):
            raise self.file.damaged(f"{short(path)} has no shape")
        return struct.unpack_from(f"<{rank}Q", content, 8 if version == 1 else 4)

    def _dtype(self, path: str, content: bytes) -> str:
        kind, order = struct.unpack_from("<BB", content)
        # Class 1, whatever its version; neither bit of the byte order.
        if kind & 0x0F == 1 and not order & 0x41:
            dtype = _FLOATS.get(struct.unpack_from("<4xLHHBBBBL", content))
            if dtype is not None:
                return dtype
        raise self.file.not_floats(path, "of another type")

    def _piece(self, offset: int, length: int) -> bytes:
        self._step()
        return bytes(self.file.read(offset, length))

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise self.file.damaged("it has more parts than any model")
