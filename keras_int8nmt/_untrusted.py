"""Files that anybody may have written: regular ones alone, in a bounded memory, without waiting.

A name in a folder may lead to a FIFO, which waits for ever, or to /dev/zero, which never ends; JSON
may be nested deeper than Python's stack. Whoever reads such a file says how large it can be in
earnest and what class of error its own is.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

# Nothing that this package reads is nested a tenth as deeply.
_DEEPEST = 100


def open_regular(path: str | os.PathLike[str], error: type[Exception]) -> BinaryIO:
    """Opens a file to read it, without a buffer; links are followed.

    Args:
        path: The file.
        error: Raised, with a message that names the file, where it can't be opened or is no
            regular file.
    """
    path = Path(path)
    # Not waiting: opening a FIFO would, until somebody writes.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        # A device that is opened may do something, such as to rewind a tape.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise error(f"{str(path)!r} is no regular file.")
        handle = os.open(path, flags)
    except (OSError, ValueError) as cause:
        if isinstance(cause, error):
            raise
        reason = getattr(cause, "strerror", None) or cause
        raise error(f"{str(path)!r} can't be read: {reason}.") from cause
    file = os.fdopen(handle, "rb", buffering=0)
    # It may be another one by now.
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise error(f"{str(path)!r} is no regular file.")
    return file


def read_bytes(path: str | os.PathLike[str], most: int, error: type[Exception]) -> bytes:
    """The content of a file of at most so many bytes.

    Args:
        path: The file.
        most: A file of more is refused. What a file's size says is not relied on: those of /proc
            have none.
        error: See `open_regular`; raised for a file that is too large, too.
    """
    with open_regular(path, error) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            content = bytearray()
            while size <= most and len(content) <= most:
                # A file as large as it says is read at once, and then its end.
                piece = file.read(min(max(size - len(content), 1 << 16), most + 1 - len(content)))
                if not piece:
                    return bytes(content)
                content += piece
        except OSError as cause:
            reason = cause.strerror or cause
            raise error(f"{str(path)!r} can't be read: {reason}.") from cause
    size = max(size, len(content))
    raise error(f"{str(path)!r} has {size} bytes or more; at most {most} are read.")


def parse_json(content: bytes) -> Any:
    """The value of JSON in UTF-8.

    Raises:
        ValueError: where it is none, or nested more than 100 deep: what goes through it later may
            have less stack than the parser.
    """
    try:
        value = json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError(f"it is nested more than {_DEEPEST} deep") from error
    # Where there are no more brackets, inside of text or not, there is no more depth.
    if content.count(b"[") + content.count(b"{") > _DEEPEST and _is_deep(value):
        raise ValueError(f"it is nested more than {_DEEPEST} deep")
    return value


def json_value(path: str | os.PathLike[str], content: bytes, error: type[Exception]) -> Any:
    """The value of the JSON that a file holds.

    Args:
        path: The file, for the message.
        content: What was read from it.
        error: Raised where it is no JSON, see `parse_json`.
    """
    try:
        return parse_json(content)
    except ValueError as cause:
        raise error(f"{str(path)!r} is damaged, not JSON: {cause}.") from cause


def json_object(
    path: str | os.PathLike[str], content: bytes, error: type[Exception]
) -> dict[str, Any]:
    """`json_value` of a file that holds one object; anything else raises `error`, too."""
    value = json_value(path, content, error)
    if not isinstance(value, dict):
        raise error(f"{str(path)!r} must hold a JSON object.")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST + 1):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def inside(folder: Path, name: str, error: type[Exception]) -> Path:
    """The path of a file of a folder that somebody else has made.

    A link must not lead out of it, to a file that is nobody's business, but into the blobs of the
    Hugging Face cache, whose folders are made of such links.

    Args:
        folder: The folder.
        name: Of a file right in it, which need not be there.
        error: Raised for a name that is none, and for a link that leads out.
    """
    path = folder / name
    if Path(name).name != name or not name or "\0" in name or "\\" in name:
        raise error(f"{str(folder)!r} names a file {ascii(name)[:100]}, which is not in it.")
    try:
        if not path.is_symlink():
            return path
        target, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError) as cause:
        raise error(f"{str(path)!r} can't be read: it is a link to nowhere.") from cause
    homes = [home]
    if home.parent.name == "snapshots":
        homes.append(home.parent.parent / "blobs")
    if not any(each in target.parents for each in homes):
        raise error(f"{str(path)!r} is a link that leads out of its folder, which is not followed.")
    return path
