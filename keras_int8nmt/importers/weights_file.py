"""`WeightsFile`: pieces of a file of any size, and the tensors whose bytes lie in it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt._untrusted import open_regular
from keras_int8nmt.importers.tensors import FLOAT_BYTES, Entry, float32_of

# No weight has more axes or elements.
_MOST_AXES = 8
_MOST_ELEMENTS = 1 << 48


class WeightsFile:
    """A regular file from which pieces are read; it is open only as long as that takes.

    Args:
        path: The file.
        error: What is raised where it can't be read, or holds something that can't be.
    """

    def __init__(self, path: Path, error: type[Exception]) -> None:
        self.path, self.error = path, error
        with open_regular(path, error) as file:
            self.size = os.fstat(file.fileno()).st_size

    def damaged(self, why: str) -> Exception:
        """An error, to be raised, that names the file and says what is wrong in it."""
        return self.error(f"{str(self.path)!r} is damaged: {why}.")

    def refused(self, why: str) -> Exception:
        """An error, to be raised, that names the file and says what of it is not read."""
        return self.error(f"{str(self.path)!r} {why}.")

    def read(self, offset: int, length: int) -> bytearray:
        """So many bytes from there.

        Raises:
            The `error` of this object: where the file has not so many.
        """
        if not 0 <= offset <= offset + length <= self.size:
            raise self.damaged(
                f"bytes {offset} to {offset + length} are asked for, and it has {self.size}"
            )
        content = bytearray(length)
        with open_regular(self.path, self.error) as file, memoryview(content) as left:
            file.seek(offset)
            done = 0
            while done < length:
                # A raw file, which gives 2 GiB at once at most.
                count = file.readinto(left[done:])  # type: ignore[attr-defined]
                if not count:
                    raise self.damaged("it has become shorter while it was read")
                done += count
        return content

    def shape(self, name: str, value: Any) -> tuple[int, ...]:
        """A shape that the file tells of a tensor, checked."""
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or len(value) > _MOST_AXES
            or not all(type(n) is int and 0 <= n < _MOST_ELEMENTS for n in value)
            or math.prod(value) >= _MOST_ELEMENTS
        ):
            raise self.damaged(f"tensor {short(name)} has no possible shape")
        return tuple(value)

    def entry(self, name: str, offset: int, shape: tuple[int, ...], dtype: str) -> Entry:
        """The tensor of these floats, row by row from a byte on."""
        if dtype not in FLOAT_BYTES:
            raise self.not_floats(name, dtype)
        length = math.prod(shape) * FLOAT_BYTES[dtype]
        if not 0 <= offset <= offset + length <= self.size:
            raise self.damaged(
                f"tensor {short(name)} of shape {shape} takes bytes {offset} to "
                f"{offset + length} of {self.size}"
            )

        def read() -> np.ndarray:
            return float32_of(self.read(offset, length), dtype).reshape(shape)

        return Entry(shape, dtype, read)

    def not_floats(self, name: str, dtype: str) -> Exception:
        """An error, to be raised, on a tensor that is none of weights."""
        return self.error(
            f"Tensor {short(name)} of {self.path.name} is {dtype}; only {', '.join(FLOAT_BYTES)} "
            "are read."
        )


def short(value: Any) -> str:
    """What a file says, quoted, as long as a message can bear."""
    # What is nested has no text that can be had: it may be too deep.
    quoted = ascii(value) if isinstance(value, str | int) else f"a {type(value).__name__}"
    return quoted if len(quoted) <= 100 else f"{quoted[:97]}..."
