"""Forked children: they have the memory of their parent and none of its threads.

A lock that another thread held when the process was forked is held for ever in the child.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any


def in_forked_child(call: Callable[[], Any]) -> Callable[[], Any]:
    """A decorator: has `call` called in each child of this process before anything else runs there.

    The child has one thread then. Where processes are not forked it does nothing.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)
    return call


class ForkSafeLock:
    """A lock that is free in a forked child, whoever held it in the parent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Makes it a new lock, which nobody has."""
        self._lock = threading.Lock()


_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


@in_forked_child
def _renew() -> None:
    for lock in _locks:
        lock.renew()
