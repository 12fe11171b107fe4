"""Progress on stderr: a bar on a terminal, and now and then a line where there is none."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

# Seconds between two lines: at first, and at most; in between a twentieth of what has passed, so
# that a night's log has some hundred of them.
FIRST_LINE, _LONGEST = 30.0, 300.0
_PART = 1 / 20


def progress_bar(
    total: int | None, description: str, enabled: bool = True, seconds: float = FIRST_LINE
) -> Any:
    """Progress of `total` steps; a context manager, moved by its method `update`.

    Args:
        total: How many there are; None: not known.
        description: What is done.
        enabled: Whether anything is shown.
        seconds: Where stderr is no terminal, after how long the first line comes. What ends before
            that says nothing.
    """
    if enabled and not sys.stderr.isatty():
        return ProgressLines(total, description, seconds)
    return tqdm(total=total, desc=description, disable=not enabled, leave=False)


class ProgressLines:
    """As much of tqdm's bar as is used here, in lines of their own for a log."""

    def __init__(self, total: int | None, description: str, seconds: float) -> None:
        self._total, self._description, self._seconds = total, description, seconds
        self._done, self._postfix = 0, ""
        self._start = self._last = time.monotonic()

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """What stands behind the count from the next line on."""
        self._postfix = text

    def update(self, steps: int = 1) -> None:
        """Counts steps, and writes a line if it is time."""
        self._done += steps
        now = time.monotonic()
        passed = now - self._start
        if now - self._last < max(self._seconds, min(passed * _PART, _LONGEST)):
            return
        self._last = now
        count = str(self._done) if self._total is None else f"{self._done} of {self._total}"
        parts = [count, f"{passed:.0f} s", self._postfix]
        print(f"{self._description}: {', '.join(filter(None, parts))}", file=sys.stderr, flush=True)


def byte_bar(total: int | None, description: str, initial: int = 0) -> tqdm:
    """A bar for bytes of a file, which begins at `initial` of them; silent without a terminal."""
    return tqdm(
        total=total,
        initial=initial,
        desc=description,
        disable=None,
        leave=False,
        unit="B",
        unit_scale=True,
    )
