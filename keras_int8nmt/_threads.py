"""Calls side by side, for work that lets go of the interpreter.

Not `concurrent.futures`: importing it takes as long as loading a small model does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any


class Task:
    """A call in a thread of its own; `result` must be asked for, it may be in vain.

    Args:
        function: Called with `arguments`.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        function, arguments = self._call
        try:
            self._value = function(*arguments)
        except BaseException as error:
            self._error = error

    def wait(self) -> None:
        """Waits for its end, whatever it is."""
        self._thread.join()

    def result(self) -> Any:
        """Waits for its end; gives what the call gave, raises what it raised."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._value


def for_each(function: Callable[[Any], Any], items: Iterable[Any], threads: int) -> None:
    """Calls `function` with each of `items`, begun in their order.

    Args:
        function: Its results are dropped.
        items: What it is called with.
        threads: That call it, this one among them; no more than there are items.

    Raises:
        What a call raises: no further one is begun, and none runs any more.
    """
    items = list(items)
    waiting = iter(items)

    def work() -> None:
        try:
            for item in waiting:
                function(item)
        except BaseException:
            for _ in waiting:
                pass
            raise

    others = [Task(work) for _ in range(min(threads, len(items)) - 1)]
    try:
        work()
    finally:
        for _ in waiting:
            pass
        for other in others:
            other.wait()
    for other in others:
        other.result()
