"""Files of JSON, an entry a line, that survive an interruption: what is cut off is one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def read_entries(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Each line's entry; nothing where there is no file. What is not JSON is left out."""
    path = Path(path)
    if not path.exists():
        return
    for line in path.read_bytes().decode("utf-8", errors="replace").split("\n"):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue  # empty, or cut off when the run before was interrupted
        yield entry


def append_entries(path: str | os.PathLike[str], entries: Iterable[Any]) -> None:
    """Adds lines; makes the file and its folder if they are missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        # A line end first: the last line may have been cut off.
        for entry in entries:
            file.write("\n" + json.dumps(entry, ensure_ascii=False) + "\n")
