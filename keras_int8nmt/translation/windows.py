"""A look-ahead over a stream of unknown length: window by window, with the next one under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from keras_int8nmt._arguments import MOST_INT32, whole
from keras_int8nmt.runtime.results import AsyncResult

# Windows that the streams have: one to finish, and one so that they never wait for the next.
_UNDER_WAY = 2

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
    """
    if not ahead:
        yield from _one_by_one(windows, begin, progress)
        return
    iterator = iter(windows)
    under_way: deque[tuple[W, AsyncResult[R]]] = deque()
    try:
        while True:
            for window in islice(iterator, _UNDER_WAY - len(under_way)):
                under_way.append((window, begin(window)))
            if not under_way:
                return
            window, pending = under_way[0]
            results = pending.results(_of(window, progress))
            under_way.popleft()
            # Before the caller takes its time: the streams have one window now, and get another.
            for following in islice(iterator, 1):
                under_way.append((following, begin(following)))
            yield window, results
    finally:
        for _, pending in under_way:
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
