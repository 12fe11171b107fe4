"""Keras' own tests with our layers in place: what the list of differences must be.

The tests themselves are run by the CI part `keras`.
"""

from __future__ import annotations

import tomllib

from keras_suite import run


def groups():
    return tomllib.loads(run.DIFFERENCES.read_text(encoding="utf-8"))["differences"]


def test_every_difference_has_a_reason_and_stands_once():
    for backend in run.BACKENDS:
        names = [
            name
            for group in groups()
            for name in group["tests"]
            if backend in group.get("backends", run.BACKENDS)
        ]
        assert len(names) == len(set(names))
        assert run.listed(backend).keys() == set(names)
    files = {path.rpartition("/")[2] for path in run.TESTS}
    for group in groups():
        assert group.keys() <= {"reason", "tests", "backends"}
        assert len(group["reason"]) > 20
        assert set(group.get("backends", run.BACKENDS)) <= set(run.BACKENDS)
        assert {name.partition("::")[0] for name in group["tests"]} <= files


def test_a_process_that_a_signal_ended_is_a_failure_as_one_that_found_something():
    assert run.status([0, 0]) == 0
    assert run.status([-11, 0]) == 1
    assert run.status([0, 1]) == 1


def test_an_unlisted_failure_is_an_error_and_so_is_a_listed_test_that_passes():
    outcomes = run.Outcomes()
    outcomes.seen = {"a", "b", "c", "d"}
    outcomes.failed = {"a": "why", "b": "why"}
    outcomes.skipped = {"d"}
    assert run.judged(outcomes, ["a", "b", "d"]) == ({}, [])
    assert run.judged(outcomes, ["a", "d"]) == ({"b": "why"}, [])
    assert run.judged(outcomes, ["a", "b", "c"]) == ({}, ["c"])
    assert run.judged(outcomes, ["a", "b", "gone"]) == ({}, ["gone"])
