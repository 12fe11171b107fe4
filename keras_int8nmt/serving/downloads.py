"""Translated files until their clients fetch them, in a folder that all workers share."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from keras_int8nmt.serving.errors import RefusalError

# Of all files together, as a multiple of the largest that is taken.
_MOST_FILES = 64
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
# What can be translated, by the end of a file's name, and how.
FILE_FORMATS = {".txt": "text", ".html": "html", ".htm": "html"}
TYPES = {".txt": "text/plain; charset=utf-8", ".html": "text/html; charset=utf-8"}


def suffix_of(name: str) -> str:
    """The end of the name of a file that can be translated.

    Raises:
        RefusalError: for any other.
    """
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in FILE_FORMATS:
        raise RefusalError(400, f"A file's name must end with one of {', '.join(FILE_FORMATS)}.")
    return ".html" if suffix == ".htm" else suffix


class Downloads:
    """Keeps files for a while, by names that nobody guesses.

    Args:
        folder: There already; nobody else's.
        file_bytes: Of the largest file.
        seconds: For which a file is kept.
        now: The time, as that of files.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        file_bytes: int,
        seconds: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._seconds, self._now = Path(folder), seconds, now
        self._most = _MOST_FILES * file_bytes

    def keep(self, content: bytes, suffix: str) -> str:
        """Keeps a file; returns its path below `/download_file/`.

        Raises:
            RefusalError: where there are too many already.
        """
        if self._size_after_clearing() + len(content) > self._most:
            raise RefusalError(
                429, "Too many translated files are waiting.", {"Retry-After": str(self._seconds)}
            )
        token = secrets.token_urlsafe(24)
        descriptor = os.open(
            self._folder / (token + suffix), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return f"{token}/translation{suffix}"

    def read(self, token: str, name: str) -> tuple[bytes, str]:
        """A file that was kept, and its type.

        Raises:
            RefusalError: where there is none, or no longer.
        """
        suffix = os.path.splitext(name)[1]
        if _TOKEN.fullmatch(token) and suffix in TYPES:
            path = self._folder / (token + suffix)
            try:
                if self._now() - path.stat().st_mtime <= self._seconds:
                    return path.read_bytes(), TYPES[suffix]
            except OSError:
                pass
        raise RefusalError(404, "There is no such file, or it is no longer kept.")

    def _size_after_clearing(self) -> int:
        """Bytes of all files, after those that are too old were removed."""
        size = 0
        for path in self._folder.iterdir():
            try:
                found = path.stat()
                if self._now() - found.st_mtime > self._seconds:
                    path.unlink()
                else:
                    size += found.st_size
            except FileNotFoundError:
                # Another worker was faster.
                continue
        return size
