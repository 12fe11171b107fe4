"""The look-ahead: order, how much is read ahead, what is under way, and what is cancelled."""

from __future__ import annotations

import pytest

from keras_int8nmt.translation.windows import cut, overlapped


class Doubling:
    """Doubles its numbers when asked."""

    def __init__(self, numbers, log):
        self.numbers, self.log = numbers, log
        log.append(f"begin {numbers[0]}")

    def results(self, progress=None):
        self.log.append(f"wait {self.numbers[0]}")
        if progress is not None:
            progress(len(self.numbers))
        return [2 * n for n in self.numbers]

    def cancel(self):
        self.log.append(f"cancel {self.numbers[0]}")


def test_windows_have_all_items_in_order():
    assert list(cut(iter(range(7)), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(cut([], 3)) == []
    with pytest.raises(ValueError, match="at least 1"):
        list(cut([1], 0))


def test_the_next_window_is_under_way_before_the_caller_has_this_one():
    log = []
    for window, doubled in overlapped([[1], [2], [3]], lambda w: Doubling(w, log)):
        assert doubled == [2 * n for n in window]
        log.append(f"have {window[0]}")
    assert log == [
        "begin 1", "begin 2", "wait 1", "begin 3", "have 1", "wait 2", "have 2", "wait 3", "have 3",
    ]  # fmt: skip


def test_no_more_than_two_windows_are_read_ahead():
    read = []
    windows = ([read.append(n) or n] for n in range(100))
    log = []
    for (n,), _ in overlapped(windows, lambda w: Doubling(w, log)):
        assert len(read) <= n + 3
    assert len(read) == 100


def test_what_is_under_way_is_cancelled_when_the_caller_stops():
    log = []
    results = overlapped(([n] for n in range(9)), lambda w: Doubling(w, log))
    next(results)
    results.close()
    assert log[-2:] == ["cancel 1", "cancel 2"]
    assert log.count("begin 3") == 0


def test_an_error_of_the_source_cancels_too():
    def windows():
        yield [1]
        raise OSError("gone")

    log = []
    with pytest.raises(OSError, match="gone"):
        list(overlapped(windows(), lambda w: Doubling(w, log)))
    assert log == ["begin 1", "cancel 1"]


def test_progress_names_the_window():
    told = []
    list(overlapped([[1, 2], [3]], lambda w: Doubling(w, []), lambda w, n: told.append((w, n))))
    assert told == [([1, 2], 2), ([3], 1)]


def test_nothing_gives_nothing():
    assert list(overlapped([], lambda w: Doubling(w, []))) == []


def test_without_looking_ahead_each_is_answered_before_the_next_is_read():
    log = []
    windows = (log.append(f"read {n}") or [n] for n in (1, 2))
    for window, _ in overlapped(windows, lambda w: Doubling(w, log), ahead=False):
        log.append(f"have {window[0]}")
    assert log == [
        "read 1", "begin 1", "wait 1", "have 1", "read 2", "begin 2", "wait 2", "have 2",
    ]  # fmt: skip


def test_without_looking_ahead_one_that_fails_is_cancelled():
    class Failing(Doubling):
        def results(self, progress=None):
            raise RuntimeError("NaN")

    log = []
    with pytest.raises(RuntimeError, match="NaN"):
        list(overlapped([[1], [2]], lambda w: Failing(w, log), ahead=False))
    assert log == ["begin 1", "cancel 1"]
