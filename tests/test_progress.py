"""Progress where there is no terminal: now and then a line, and none of what is soon over."""

from __future__ import annotations

import pytest

from keras_int8nmt import _progress
from keras_int8nmt._progress import progress_bar


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when a test says so."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(_progress, "time", clock)
    return clock


def steps(clock, bar, count, seconds):
    for _ in range(count):
        clock.now += seconds
        bar.update(1)


def test_lines_come_after_a_while_and_ever_more_rarely(clock, capsys):
    with progress_bar(100_000, "work") as bar:
        steps(clock, bar, 29, 1.0)
        assert capsys.readouterr().err == ""
        steps(clock, bar, 1, 1.0)
        assert capsys.readouterr().err == "work: 30 of 100000, 30 s\n"
        bar.set_postfix_str("all is well")
        steps(clock, bar, 60, 1.0)
        assert capsys.readouterr().err == (
            "work: 60 of 100000, 60 s, all is well\nwork: 90 of 100000, 90 s, all is well\n"
        )
        # A night: some hundred lines, and never silent for long.
        steps(clock, bar, 8 * 3600, 1.0)
        assert 100 < capsys.readouterr().err.count("\n") < 200
        steps(clock, bar, 301, 1.0)
        assert capsys.readouterr().err.count("\n") == 1


def test_steps_that_take_long_have_a_line_each(clock, capsys):
    with progress_bar(None, "work", seconds=5.0) as bar:
        steps(clock, bar, 3, 60.0)
    assert capsys.readouterr().err == "work: 1, 60 s\nwork: 2, 120 s\nwork: 3, 180 s\n"


def test_what_is_not_wanted_says_nothing(clock, capsys):
    with progress_bar(3, "work", enabled=False) as bar:
        steps(clock, bar, 3, 100.0)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress_bar(3, "work") as bar:
        bar.update(3)
    assert capsys.readouterr().err.startswith("\rwork:   0%")
