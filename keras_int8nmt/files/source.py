"""Lines of a file of any size, window by window, with what is needed to find the place again."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from keras_int8nmt.files import WINDOW
from keras_int8nmt.files.compression import open_input
from keras_int8nmt.files.lines import TextFileError
from keras_int8nmt.files.records import BadLineError, LineFormat, Record

# A window ends at so many bytes even if it has few lines.
_WINDOW_BYTES = 4 << 20
# A longer line is no sentence, and must not fill the memory.
_LONGEST_LINE = 4 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Window:
    """Some lines.

    Attributes:
        first: Number of the first, counted from 1.
        records: What they hold.
        errors: What is wrong with those that could not be read, by index; their record's `rest` is
            the line.
        sha256: Of all lines of the file up to the last of these.
        start, position: Bytes of the file that were read before and after, packed as they are
            there.
    """

    first: int
    records: list[Record]
    errors: dict[int, str]
    sha256: str
    start: int
    position: int

    @property
    def last(self) -> int:
        """Number of the last line."""
        return self.first + len(self.records) - 1


class LineSource:
    """The lines of a file, or of stdin; a context manager.

    A line feed ends a line and nothing else does; a carriage return before it is dropped, and so is
    a byte order mark at the start.

    Args:
        path: The file; None: stdin.
        form: What a line is.
        window: Most lines of a window.

    Raises:
        CompressedFileError, OSError: when it can't be opened.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None, form: LineFormat, window: int = WINDOW
    ) -> None:
        self.name = "stdin" if path is None else str(path)
        self._form, self._window = form, window
        self._content: BinaryIO
        if path is None:
            self._content, self._raw = sys.stdin.buffer, None
            self.size = None
        else:
            self._content, self._raw = open_input(path)
            about = Path(path).stat()
            self.size = about.st_size if stat.S_ISREG(about.st_mode) else None
        self._number, self._bytes = 0, 0
        self._hash = hashlib.sha256()

    def __enter__(self) -> LineSource:
        return self

    def __exit__(self, *_: object) -> None:
        if self._raw is not None:
            self._content.close()

    def skip(self, lines: int) -> bool:
        """Passes over lines; whether there were as many.

        Afterwards `sha256` tells whether they are the same as at another time.
        """
        while self._number < lines:
            line = self._read_line()
            if line is None:
                return False
            if self._number == 1:
                # A header says how to read the others.
                self._parse(line)
        return True

    @property
    def sha256(self) -> str:
        """Of all lines read so far."""
        return self._hash.hexdigest()

    @property
    def position(self) -> int:
        """Bytes of the file that have been read, packed as they are there."""
        return self._bytes if self._raw is None or self.size is None else self._raw.tell()

    def windows(self) -> Iterator[Window]:
        """What is left, read as it is asked for.

        A window depends on its first line and the content alone, so that who begins again at the
        border of two gets the same ones.
        """
        while window := self._read_window():
            yield window

    def _read_window(self) -> Window | None:
        first, size, start = self._number + 1, 0, self.position
        records: list[Record] = []
        errors: dict[int, str] = {}
        while len(records) < self._window and size < _WINDOW_BYTES:
            line = self._read_line()
            if line is None:
                break
            size += len(line)
            record, error = self._parse(line)
            if error is not None:
                errors[len(records)] = error
            records.append(record)
        if not records:
            return None
        return Window(first, records, errors, self.sha256, start, self.position)

    def _parse(self, line: bytes) -> tuple[Record, str | None]:
        try:
            return self._form.parse(self._number, line), None
        except BadLineError as error:
            return Record(None, line), str(error)

    def _read_line(self) -> bytes | None:
        line = self._content.readline(_LONGEST_LINE)
        if not line:
            return None
        self._number += 1
        self._bytes += len(line)
        if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            raise TextFileError(
                f"{self.name}, line {self._number}: more than {_LONGEST_LINE} bytes without a line "
                "feed; it is not a file of sentences."
            )
        self._hash.update(line)
        if self._number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        return line.removesuffix(b"\n").removesuffix(b"\r")


def count_lines(path: str | os.PathLike[str]) -> int:
    """Lines of a file, packed or not."""
    content, _ = open_input(path)
    count, last = 0, b"\n"
    with content:
        while piece := content.read(1 << 20):
            count += piece.count(b"\n")
            last = piece[-1:]
    return count + (last != b"\n")
