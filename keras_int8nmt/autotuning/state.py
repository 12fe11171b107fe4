"""What `autotune` has measured, a line of JSON each, so that an interrupted run goes on.

A line is appended when its number is there. Lines of another run (another model, sample or search)
are left alone and not used, so one file may serve several.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.files.jsonl import append_entries, read_entries

_OWN = ("run", "of", "number")


class StateError(KerasInt8nmtError, ValueError):
    """The file is not one of `autotune`; the message names it."""


class State:
    """Numbers by what they are of, in a file or, without one, in memory alone.

    Args:
        path: The file; made when the first number comes. None: nothing is kept.
        run: Names the run; numbers count for an equal one only.

    Raises:
        StateError: when the file has content and none of it is of `autotune`: nothing is appended
            to a file that was named by a slip.
    """

    def __init__(self, path: str | os.PathLike[str] | None, run: str) -> None:
        self._path = None if path is None else Path(path)
        self._run = run
        self._numbers: dict[str, float] = {}
        self._more: dict[str, dict[str, Any]] = {}
        if self._path is None or not self._path.exists():
            return
        known = [self._take(entry) for entry in read_entries(self._path)]
        if any(known):
            return
        # A run that was killed at its first number leaves nothing but the beginning of a line.
        content = self._path.read_bytes().strip()
        if content and not content.startswith(b'{"run"'):
            raise StateError(f"{str(self._path)!r} is not a state file of autotune.")

    def _take(self, entry: Any) -> bool:
        if not isinstance(entry, dict) or not {"run", "of", "number"} <= entry.keys():
            return False
        number = entry["number"]
        if isinstance(number, bool) or not isinstance(number, int | float):
            return False
        more = {name: value for name, value in entry.items() if name not in _OWN}
        if (
            entry["run"] == self._run
            and math.isfinite(number)
            and _are_numbers(list(more.values()))
        ):
            key = _key(entry["of"])
            self._numbers[key], self._more[key] = float(number), more
        return True

    def get(self, of: Any) -> float | None:
        """The number of `of`, JSON values; None where it was not measured."""
        return self._numbers.get(_key(of))

    def more(self, of: Any) -> dict[str, Any]:
        """What was kept beside the number of `of`."""
        return self._more.get(_key(of), {})

    def add(self, of: Any, number: float, **more: Any) -> None:
        """Keeps a number, and by names what belongs to it: other numbers, or lists of them."""
        self._numbers[_key(of)], self._more[_key(of)] = number, more
        if self._path is not None:
            append_entries(self._path, [{"run": self._run, "of": of, "number": number, **more}])


def _key(of: Any) -> str:
    return json.dumps(of, sort_keys=True)


def _are_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_are_numbers, value))
    return isinstance(value, int | float) and math.isfinite(value)


def digest(content: Any) -> str:
    """SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
