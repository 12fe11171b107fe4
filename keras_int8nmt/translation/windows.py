"""A look-ahead over a stream of unknown length: window by window, with the next one under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from keras_int8nmt._arguments import MOST_INT32, whole
from keras_int8nmt.runtime.results import AsyncResult

# Windows that the streams have: one to finish, and one so that they never wait for the next.
UNDER_WAY = 2

W = TypeVar("W")
R = TypeVar("R")
T = TypeVar("T")


def cut(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last of what is left."""
    size = whole("window", size, 1, MOST_INT32)
    iterator = iter(items)
    while window := list(islice(iterator, size)):
        yield window


def overlapped(
    windows: Iterable[W],
    begin: Callable[[W], AsyncResult[R]],
    progress: Callable[[W, int], Any] | None = None,
    *,
    ahead: bool = True,
    under_way: Callable[[], int] = lambda: UNDER_WAY,
) -> Generator[tuple[W, R], None, None]:
    """Yields each window with its results, in order, while later ones are being worked at.

    One window is with the streams when the caller has another: what the caller does with it, and
    reading and tokenizing the window after that, costs the streams nothing. No more than these are
    in memory. Windows that are under way when the caller stops are cancelled.

    Args:
        windows: Read as they are needed.
        begin: Hands a window to the streams and returns at once.
        progress: Called with a window and how many of its sentences have finished now.
        ahead: False: no window is read before the caller is done with the one before, for a caller
            who waits for each answer.
        under_way: How many windows are begun, at least, before the first of them is waited for.
    """
    if not ahead:
        yield from _one_by_one(windows, begin, progress)
        return
    iterator = iter(windows)
    begun: deque[tuple[W, AsyncResult[R]]] = deque()

    def fill() -> None:
        for window in islice(iterator, max(0, under_way() - len(begun))):
            begun.append((window, begin(window)))

    try:
        while True:
            fill()
            if not begun:
                return
            window, pending = begun[0]
            results = pending.results(_of(window, progress))
            begun.popleft()
            # Before the caller takes its time: the streams have one window less now.
            fill()
            yield window, results
    finally:
        for _, pending in begun:
            pending.cancel()


def _one_by_one(
    windows: Iterable[W],
    begin: Callable[[W], AsyncResult[R]],
    progress: Callable[[W, int], Any] | None,
) -> Generator[tuple[W, R], None, None]:
    for window in windows:
        pending = begin(window)
        try:
            results = pending.results(_of(window, progress))
        except BaseException:
            pending.cancel()
            raise
        yield window, results


def _of(window: W, progress: Callable[[W, int], Any] | None) -> Callable[[int], Any] | None:
    return None if progress is None else lambda finished: progress(window, finished)
