"""An interrupted run goes on where it was."""

from __future__ import annotations

import pytest

from keras_int8nmt.bench.translation import measuring
from keras_int8nmt.bench.translation.cases import Case
from keras_int8nmt.bench.translation.engines import EngineSpec
from keras_int8nmt.bench.translation.measuring import case_results
from keras_int8nmt.bench.translation.rounds import Result, Rules
from keras_int8nmt.bench.translation.state import State

MACHINE = {"cpu": "a", "cores": 2}
CASE, OTHER = Case("base", 4, 32, 2, 27), Case("base", 1, 32, 2, 27)


def test_results_are_read_again(tmp_path):
    path = tmp_path / "state.jsonl"
    results = {"a": Result([1.0, 2.0], 10, "set", None, {"bleu": 30.0}), "b": Result(reason="no")}
    State(path, MACHINE).add(CASE, results)
    State(path, MACHINE).add(OTHER, {"a": Result([3.0], 5)})
    state = State(path, MACHINE)
    assert state.get(CASE) == results
    assert state.get(OTHER) == {"a": Result([3.0], 5)}


def test_results_of_another_machine_do_not_count_and_stay(tmp_path):
    path = tmp_path / "state.jsonl"
    State(path, MACHINE).add(CASE, {"a": Result([1.0], 1)})
    other = State(path, {**MACHINE, "cpu": "b"})
    assert other.get(CASE) == {}
    other.add(CASE, {"a": Result([2.0], 1)})
    assert State(path, MACHINE).get(CASE)["a"].seconds == [1.0]


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "state.jsonl"
    State(path, MACHINE).add(CASE, {"a": Result([1.0], 1), "b": Result([1.0], 1)})
    path.write_bytes(path.read_bytes()[:-20])
    state = State(path, MACHINE)
    assert state.get(CASE).keys() == {"a"}
    state.add(CASE, {"b": Result([2.0], 1)})
    assert State(path, MACHINE).get(CASE).keys() == {"a", "b"}


def test_a_figure_of_the_machine_is_measured_once(tmp_path):
    path = tmp_path / "state.jsonl"
    State(path, MACHINE).add(CASE, {"a": Result([1.0], 1)})
    measured = iter([400.0, 401.0])
    for _ in range(2):
        assert State(path, MACHINE).figure("peak", lambda: next(measured)) == 400.0
    assert State(path, {**MACHINE, "cpu": "b"}).figure("peak", lambda: next(measured)) == 401.0
    assert State(path, MACHINE).get(CASE)["a"].tokens == 1
    assert State(None, MACHINE).figure("peak", lambda: None) is None


def test_without_a_file_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = State(None, MACHINE)
    state.add(CASE, {"a": Result([1.0], 1)})
    assert state.get(CASE)["a"].tokens == 1
    assert not list(tmp_path.iterdir())


@pytest.fixture
def measured(monkeypatch):
    """Names of the cases that were measured, each with its engines."""
    calls = []

    def fake(session, case, specs, rules):
        calls.append((str(case), list(specs)))
        return {name: Result([1.0], 7) for name in specs}

    monkeypatch.setattr(measuring, "_measured", fake)
    return calls


def specs(*names):
    return {name: EngineSpec(name, "m:C") for name in names}


def test_a_complete_case_is_not_measured_again(measured):
    state = State(None, MACHINE)
    for _ in range(2):
        results = case_results(None, CASE, specs("a", "b"), state, Rules())
        assert list(results) == ["a", "b"]
    case_results(None, OTHER, specs("a"), state, Rules())
    assert measured == [(str(CASE), ["a", "b"]), (str(OTHER), ["a"])]


def test_with_a_new_engine_all_take_their_turns_again(measured):
    state = State(None, MACHINE)
    case_results(None, CASE, specs("a"), state, Rules())
    case_results(None, CASE, specs("a", "b"), state, Rules())
    assert measured[1] == (str(CASE), ["a", "b"])


def test_what_is_not_installed_is_a_reason_and_not_kept(measured):
    state = State(None, MACHINE)
    given = {**specs("a"), "b": EngineSpec("b", needs=("no_such_package",))}
    results = case_results(None, CASE, given, state, Rules())
    assert results["b"].reason == "not installed: no_such_package"
    assert state.get(CASE).keys() == {"a"}
