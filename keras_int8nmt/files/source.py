"""Lines of a file of any size, window by window, with what is needed to find the place again."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from keras_int8nmt.files import WINDOW
from keras_int8nmt.files.compression import open_input
from keras_int8nmt.files.encoding import HEAD
from keras_int8nmt.files.lines import BadLineError, check_encoding
from keras_int8nmt.files.records import LineFormat, Record

# A window ends at so many bytes even if it has few lines.
WINDOW_BYTES = 4 << 20
# A longer line is no sentence; it is kept up to the second length, and must not fill the memory.
LONGEST_LINE, _LONGEST_KEPT = 4 << 20, 64 << 20
TOO_LONG = f"more than {LONGEST_LINE} bytes, which are no sentence"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Window:
    """Some lines.

    Attributes:
        first: Number of the first, counted from 1.
        records: What they hold.
        errors: What is wrong with those that could not be read, by index; their record's `rest` is
            the line, None of one that is too long to be kept.
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

    @property
    def lines(self) -> list[str | None]:
        """Of each line what is to be translated, None where there is nothing."""
        return [record.text for record in self.records]


class Source(Protocol):
    """The lines of a file, or its rows, as who translates it reads them; see `LineSource`."""

    name: str
    window: int
    size: int | None

    @property
    def sha256(self) -> str: ...

    @property
    def position(self) -> int: ...

    def skip(self, lines: int) -> bool: ...

    def windows(self) -> Iterator[Window]: ...


class _Line(NamedTuple):
    """A line without its end, None where it is too long to be kept, and how many bytes it has."""

    content: bytes | None
    length: int


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
        TextFileError: when the first line is read of a file that is UTF-16 or UTF-32.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None, form: LineFormat, window: int = WINDOW
    ) -> None:
        self.name = "stdin" if path is None else str(path)
        self._form, self.window = form, window
        self._content: Any  # it can be looked into without being read
        if path is None:
            self._content, self._raw = sys.stdin.buffer, None
            self.size: int | None = None
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
        while len(records) < self.window and size < WINDOW_BYTES:
            line = self._read_line()
            if line is None:
                break
            size += line.length
            record, error = self._parse(line)
            if error is not None:
                errors[len(records)] = error
            records.append(record)
        if not records:
            return None
        return Window(first, records, errors, self.sha256, start, self.position)

    def _parse(self, line: _Line) -> tuple[Record, str | None]:
        if line.length > LONGEST_LINE or line.content is None:
            return Record(None, line.content), TOO_LONG
        try:
            return self._form.parse(self._number, line.content), None
        except BadLineError as error:
            return Record(None, line.content), str(error)

    def _read_line(self) -> _Line | None:
        if self._number == 0:
            # What is there by now: whoever sends line by line waits for the answer to the first.
            head = self._content.peek(HEAD)
            if not head:
                return None
            check_encoding(self.name, head)
        line = self._content.readline(LONGEST_LINE)
        if not line:
            return None
        self._number += 1
        self._count(line)
        pieces, length = [line], len(line)
        while not line.endswith(b"\n") and (line := self._content.readline(LONGEST_LINE)):
            self._count(line)
            length += len(line)
            pieces = [*pieces, line] if length <= _LONGEST_KEPT else []
        if length > _LONGEST_KEPT:
            return _Line(None, length)
        content = b"".join(pieces)
        if self._number == 1:
            check_encoding(self.name, content)
            content = content.removeprefix(_BYTE_ORDER_MARK)
        content = content.removesuffix(b"\n").removesuffix(b"\r")
        return _Line(content, len(content))

    def _count(self, piece: bytes) -> None:
        self._bytes += len(piece)
        self._hash.update(piece)


def count_lines(path: str | os.PathLike[str]) -> int:
    """Lines of a file, packed or not."""
    content, _ = open_input(path)
    count, last = 0, b"\n"
    with content:
        while piece := content.read(1 << 20):
            count += piece.count(b"\n")
            last = piece[-1:]
    return count + (last != b"\n")
