"""Lines of text in and out: UTF-8, ended by a line feed and by nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from keras_int8nmt._text import visible
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.files.encoding import wide_encoding


class TextFileError(KerasInt8nmtError, ValueError):
    """A file of text can't be read or does not fit; the message names it and the line."""


class BadLineError(KerasInt8nmtError, ValueError):
    """A line is not what its format says; the message goes on after file and number."""


def read_lines(path: str | os.PathLike[str] | None) -> list[str]:
    """The lines of a file, or of stdin for None, without their ends.

    A line feed ends a line and nothing else does; a carriage return before it is dropped.

    Raises:
        TextFileError: naming the first line that is not UTF-8 or has a NUL, or the encoding of a
            file that is UTF-16 or UTF-32.
        OSError: when the file can't be read.
    """
    content = sys.stdin.buffer.read() if path is None else Path(path).read_bytes()
    check_encoding("stdin" if path is None else str(path), content)
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [_decode(path, number, line) for number, line in enumerate(lines, 1)]


@overload
def read_pairs(src: str, ref: str) -> tuple[list[str], list[str]]: ...


@overload
def read_pairs(src: str, ref: str | None) -> tuple[list[str], list[str] | None]: ...


def read_pairs(src: str, ref: str | None) -> tuple[list[str], list[str] | None]:
    """The lines of a file of sentences and of one with as many translations, None without one.

    Raises:
        TextFileError: where one has more lines, or no line has text.
        OSError: when a file can't be read.
    """
    sources = read_lines(src)
    references = None if ref is None else read_lines(ref)
    if references is not None and len(sources) != len(references):
        raise TextFileError(
            f"{src} has {len(sources)} lines and {ref} {len(references)}; they must have as many."
        )
    if not any(map(visible, sources)):
        raise TextFileError(f"{src} has no sentence.")
    return sources, references


def check_encoding(name: str, head: bytes) -> None:
    """Raises TextFileError where a file that begins with these bytes is UTF-16 or UTF-32."""
    found = wide_encoding(head)
    if found is not None:
        raise TextFileError(
            f"{name}, line 1: the file is {found} and must be UTF-8; "
            f"`iconv -f {found} -t UTF-8` makes it so."
        )


def decode_line(line: bytes) -> str:
    """The text of a line.

    Raises:
        BadLineError: where it is not UTF-8, or has a NUL, which no text has.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadLineError(
            f"not UTF-8 (byte 0x{line[error.start]:02x} at byte {error.start + 1} of the line)"
        ) from error
    if "\0" in text:
        raise BadLineError(f"a NUL at byte {line.index(0) + 1} of the line, which is no text")
    return text


def _decode(path: str | os.PathLike[str] | None, number: int, line: bytes) -> str:
    try:
        return decode_line(line.removesuffix(b"\r"))
    except BadLineError as error:
        name = "stdin" if path is None else str(path)
        raise TextFileError(f"{name}, line {number}: {error}") from error


def write_lines(path: str | os.PathLike[str] | None, lines: Sequence[str]) -> None:
    """Writes lines to a file, or to stdout for None; a file is there as a whole or not at all."""
    content = "".join(line + "\n" for line in lines).encode("utf-8")
    if path is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    path = Path(path)
    if path.exists() and not path.is_file():
        # /dev/null, a pipe: to be written to, not replaced.
        path.write_bytes(content)
        return
    # Here: what only reads lines needs it not, and it takes long to import.
    import tempfile

    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(draft, 0o666 & ~umask)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def check_writable_file(path: str | os.PathLike[str] | None, force: bool) -> None:
    """Raises TextFileError where a file is that `force` does not allow to replace."""
    if path is None:
        return
    path = Path(path)
    if not path.parent.is_dir():
        raise TextFileError(f"There is no folder {str(path.parent)!r} to write into.")
    if path.is_dir():
        raise TextFileError(f"{str(path)!r} is a folder.")
    if path.is_file() and not force:
        raise TextFileError(f"{str(path)!r} exists already; --force replaces it.")
