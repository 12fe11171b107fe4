"""The variables of a CTranslate2 `model.bin`, found without reading any weight.

Little-endian: the version of the layout; since version 2 the specification's name and its revision;
the number of variables, and of each its name, shape, type and values; since version 3 names that
are other names of variables. What is quantized is read as the floats that it stands for.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_int8nmt.importers.tensors import FLOAT_BYTES, Entry
from keras_int8nmt.importers.weights_file import WeightsFile, short

NAME = "model.bin"
_VERSIONS = range(2, 7)
# By their ids, which are written since version 4; before it was the size of an element.
_TYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")
_TYPES_BY_SIZE = {4: "float32", 2: "int16", 1: "int8"}
_BYTES = {**FLOAT_BYTES, "int8": 1, "int16": 2, "int32": 4}
# A model of a hundred layers has 6,000.
_MOST_VARIABLES = 1 << 16
_LONGEST_NAME = 1 << 10
_MOST_TEXT = 1 << 10
_WINDOW = 1 << 12
QUANTIZED = ("int8", "int16")
# Of a matrix of int16 that was saved without one.
_INT16_SCALE = np.float32(1000.0)


class Variable(NamedTuple):
    """Where a variable's values lie; that the file has so many bytes there is checked."""

    offset: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def length(self) -> int:
        return self.size * _BYTES[self.dtype]


class CTranslate2File:
    """What a `model.bin` holds.

    Args:
        path: The file.
        error: Raised where it can't be read, is damaged, or of a version that is not known.

    Attributes:
        version: Of the layout.
        spec: The name of the specification, such as "TransformerSpec".
        revision: Of the specification.
        variables: By their names, the other names of a variable included; two names of one have the
            same object.
    """

    def __init__(self, path: Path, error: type[Exception]) -> None:
        self._file = WeightsFile(path, error)
        self.path, self.error = path, error
        self.variables: dict[str, Variable] = {}
        cursor = _Cursor(self._file)
        self.version = cursor.number("<I")
        if self.version not in _VERSIONS:
            raise self._file.refused(
                f"has version {self.version} of CTranslate2's layout; versions "
                f"{_VERSIONS[0]} to {_VERSIONS[-1]} are read"
            )
        self.spec, self.revision = cursor.text(), cursor.number("<I")
        for _ in range(self._count(cursor)):
            name = cursor.text()
            self._add(name, self._variable(name, cursor))
        if self.version >= 3:
            for _ in range(self._count(cursor)):
                alias, name = cursor.text(), cursor.text()
                if name not in self.variables:
                    raise self._file.damaged(f"{short(alias)} is {short(name)}, which is not there")
                self._add(alias, self.variables[name])
                # The scales of what is quantized go with it.
                if name + "_scale" in self.variables:
                    self.variables[alias + "_scale"] = self.variables[name + "_scale"]
        if cursor.at != self._file.size:
            raise self._file.damaged(f"{self._file.size - cursor.at} bytes follow its last entry")

    def _count(self, cursor: _Cursor) -> int:
        count = cursor.number("<I")
        if count > _MOST_VARIABLES:
            raise self._file.damaged(f"it tells of {count} variables")
        return count

    def _variable(self, name: str, cursor: _Cursor) -> Variable:
        rank = cursor.number("<B")
        dimensions = struct.unpack(f"<{rank}I", cursor.take(4 * rank))
        kind, count = cursor.number("<B"), cursor.number("<I")
        if self.version >= 4:
            dtype = _TYPES[kind] if kind < len(_TYPES) else None
            length = count
        else:
            dtype, length = _TYPES_BY_SIZE.get(kind), count * kind
        if dtype is None:
            raise self._file.damaged(f"variable {short(name)} is of an unknown type, {kind}")
        shape = self._file.shape(name, dimensions)
        variable = Variable(cursor.at, shape, dtype)
        if variable.length != length:
            raise self._file.damaged(
                f"variable {short(name)} of shape {shape} and {dtype} has {length} bytes"
            )
        cursor.skip(length, name)
        return variable

    def _add(self, name: str, variable: Variable) -> None:
        if name in self.variables:
            raise self._file.damaged(f"it has {short(name)} twice")
        self.variables[name] = variable

    def number(self, name: str) -> int | float | None:
        """The value of a variable that is a single number; None where it is not there."""
        variable = self.variables.get(name)
        if variable is None:
            return None
        if variable.size != 1:
            raise self._file.damaged(
                f"{short(name)} must be one number; it has the shape {variable.shape}"
            )
        value = float(self._floats(name, variable)[0])
        if not math.isfinite(value):
            raise self._file.damaged(f"{short(name)} is {value}")
        return value if variable.dtype in FLOAT_BYTES else int(value)

    def text(self, name: str) -> str | None:
        """The value of a variable that is text, as int8; None where it is not there."""
        variable = self.variables.get(name)
        if variable is None:
            return None
        if variable.dtype != "int8" or len(variable.shape) != 1 or variable.size > _MOST_TEXT:
            raise self._file.damaged(f"{short(name)} must be text; it is {variable.dtype}")
        try:
            return self._file.read(variable.offset, variable.length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._file.damaged(f"{short(name)} must be text: {error}") from error

    def entries(self, names: list[str]) -> dict[str, Entry]:
        """Of these variables the floats, as `Tensors` takes them; none is read yet."""
        return {name: self._entry(name, self.variables[name]) for name in names}

    def _entry(self, name: str, variable: Variable) -> Entry:
        if variable.dtype in FLOAT_BYTES:
            return self._file.entry(name, variable.offset, variable.shape, variable.dtype)
        if variable.dtype not in QUANTIZED or not variable.shape:
            raise self._file.not_floats(name, variable.dtype)
        return Entry(variable.shape, variable.dtype, self._dequantizer(name, variable))

    def _dequantizer(self, name: str, variable: Variable) -> Callable[[], np.ndarray]:
        scale = self.variables.get(name + "_scale")
        rows = variable.shape[0]
        if scale is None and variable.dtype != "int16":
            raise self._file.damaged(f"{short(name)} is {variable.dtype} and has no scale")
        if scale is not None and (
            scale.dtype not in FLOAT_BYTES or (scale.size != 1 and scale.shape != (rows,))
        ):
            raise self._file.damaged(
                f"{short(name + '_scale')} is {scale.dtype} of shape {scale.shape}; expected are "
                f"{rows} floats, or one"
            )

        def read() -> np.ndarray:
            codes = np.frombuffer(
                self._file.read(variable.offset, variable.length),
                np.dtype(variable.dtype).newbyteorder("<"),
            )
            scales: Any = _INT16_SCALE
            if scale is not None:
                scales = self._floats(name, scale)
                scales = scales[:, None] if scale.size == rows and rows > 1 else scales[0]
            values = codes.astype(np.float32).reshape(rows, -1)
            # A scale of 0 makes infinities, which whoever takes this finds.
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                values /= scales
            return values.reshape(variable.shape)

        return read

    def _floats(self, name: str, variable: Variable) -> np.ndarray:
        if variable.dtype in FLOAT_BYTES:
            entry = self._file.entry(name, variable.offset, variable.shape, variable.dtype)
            return entry.read().reshape(-1)
        content = self._file.read(variable.offset, variable.length)
        return np.frombuffer(content, np.dtype(variable.dtype).newbyteorder("<"))


class _Cursor:
    """Goes through a file from its beginning to its end, and reads of it what it is asked for."""

    def __init__(self, file: WeightsFile) -> None:
        self._file = file
        self.at = 0
        self._window, self._start = b"", 0

    def take(self, length: int) -> bytes:
        begin = self.at - self._start
        if begin < 0 or begin + length > len(self._window):
            if length > self._file.size - self.at:
                raise self._file.damaged(
                    f"it ends in the middle of an entry, at byte {self._file.size}"
                )
            count = min(max(length, _WINDOW), self._file.size - self.at)
            self._window, self._start, begin = bytes(self._file.read(self.at, count)), self.at, 0
        self.at += length
        return self._window[begin : begin + length]

    def skip(self, length: int, name: str) -> None:
        if length > self._file.size - self.at:
            raise self._file.damaged(
                f"it ends at byte {self._file.size}, and {short(name)} has {length} bytes from "
                f"byte {self.at} on"
            )
        self.at += length

    def number(self, kind: str) -> int:
        (value,) = struct.unpack(kind, self.take(struct.calcsize(kind)))
        return int(value)

    def text(self) -> str:
        """A name: its length with the NUL at its end, and its bytes."""
        length = self.number("<H")
        if not 1 <= length <= _LONGEST_NAME:
            raise self._file.damaged(f"a name of {length} bytes is at byte {self.at}")
        content = self.take(length)
        try:
            text = content[:-1].decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._file.damaged(f"the name at byte {self.at} is none: {error}") from error
        if content[-1] or "\0" in text:
            raise self._file.damaged(f"the name at byte {self.at} is none: {short(text)}")
        return text
