"""Engines in processes of their own: what they answer, and what becomes of those that fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keras_int8nmt.bench.translation.cases import Case, Job
from keras_int8nmt.bench.translation.client import WorkerError, WorkerProcess, available_cores
from keras_int8nmt.bench.translation.engines import ENGINES, EngineSpec, Variant
from keras_int8nmt.bench.translation.rounds import Result, Rules, choose_variant, measure, trial_job

CASE = Case("nano", 1, 2, 1, 3)
AS_IT_IS = Variant()
JOB = Job(1, 2, 1, 4, 4, [[7, 8, 1], [9, 1], [5, 6, 7, 1]])


@pytest.fixture
def start(monkeypatch):
    """Starts workers of `fake_engines`, which are gone after the test."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    started = []

    def start_worker(engine, variant=AS_IT_IS, cores=None):
        spec = engine if isinstance(engine, EngineSpec) else fake(engine)
        started.append(WorkerProcess(spec, variant, cores or available_cores()[:1]))
        started[-1].load(Path("models"))
        return started[-1]

    yield start_worker
    for worker in started:
        worker.close()


def fake(name, **fields):
    return EngineSpec(name, f"helpers.fake_engines:{name}", **fields)


def test_a_worker_answers_whatever_its_library_prints(start):
    worker = start("Echo")
    assert worker.settings == "models, 1 cores"
    worker.prepare("a", JOB)
    seconds, tokens = worker.run("a")
    assert seconds > 0
    assert tokens == 9
    assert worker.results("a") == JOB.sentences


def test_a_worker_runs_on_its_cores(start):
    core = available_cores()[-1]
    worker = start("Cores", cores=[core])
    worker.prepare("a", JOB)
    worker.run("a")
    assert worker.results("a") == [[core]]


def test_an_engine_that_fails_can_be_asked_again(start):
    worker = start("Failing")
    worker.prepare("a", JOB)
    for _ in range(2):
        with pytest.raises(WorkerError, match="ValueError: no such luck") as raised:
            worker.run("a")
        assert raised.value.alive


def test_a_worker_that_dies_says_its_last_words(start):
    worker = start("Dying")
    worker.prepare("a", JOB)
    with pytest.raises(WorkerError, match="exited with status 3: Illegal instruction") as raised:
        worker.run("a")
    assert not raised.value.alive
    with pytest.raises(WorkerError, match="exited with status 3"):
        worker.run("a")


def test_a_worker_that_does_not_answer_is_ended(start):
    worker = start("Hanging")
    worker.prepare("a", JOB)
    with pytest.raises(WorkerError, match="no answer"):
        worker.ask("run", timeout=0.2, job="a")


def test_an_engine_that_can_not_run_here_says_why(start):
    with pytest.raises(WorkerError, match="not available: this CPU is too old"):
        start("Unavailable")
    with pytest.raises(WorkerError, match="not available: No module named"):
        start(EngineSpec("absent", "there_is_no_such_module:Engine"))


def test_the_others_go_on_when_one_dies(start):
    workers = {name: start(name) for name in ("Echo", "Dying", "Failing", "Slow")}
    results = measure(CASE, JOB, workers, Rules(turns=3))
    assert {n: len(r.seconds) for n, r in results.items()} == {
        "Echo": 3,
        "Dying": 0,
        "Failing": 0,
        "Slow": 3,
    }
    assert results["Echo"].reason is None
    assert results["Echo"].tokens == 9
    assert "status 3" in results["Dying"].reason
    assert "no such luck" in results["Failing"].reason


def test_the_fastest_variant_that_runs_is_chosen(start):
    def of(name):
        return Variant(name, {"note": f", {name}"})

    # Variants are of one engine, so the factory is chosen by the label here.
    def start_variant(spec, variant):
        return start(fake(variant.label), variant)

    spec = fake("Echo", variants=(of("Slow"), of("Failing"), of("Echo")))
    chosen = choose_variant(spec, CASE, JOB, start_variant)
    assert chosen.settings.endswith("Echo")
    assert [note.partition(":")[0] for note in chosen.tried] == ["Slow", "Failing", "Echo"]
    with pytest.raises(WorkerError, match="no such luck"):
        choose_variant(fake("x", variants=(of("Failing"),) * 2), CASE, JOB, start_variant)


def test_a_trial_is_one_batch_for_each_stream_and_short():
    case, sentences = Case("nano", 1, 2, 2, 27), [[1]] * 3 + [[2, 1]] * 5
    trial = trial_job(case, Job(1, 2, 2, 28, 28, sentences))
    assert (trial.min_length, trial.max_length, len(trial.sentences)) == (12, 12, 4)
    assert trial.sentences[0] == [2, 1]
    real = trial_job(Case("tiny", 1, 2, 2), Job(1, 2, 2, 0, 256, sentences))
    assert (real.min_length, real.max_length) == (0, 256)


def test_only_variants_that_suit_the_case_are_tried():
    variants = ENGINES["keras-float32"].variants
    assert [v.suits(Case("base", 1, 8, 2, 27)) for v in variants] == [True, True, True]
    assert [v.suits(Case("base", 1, 8, 1, 27)) for v in variants] == [True, False, True]
    assert [v.suits(Case("tiny", 1, 8, 2)) for v in variants] == [True, True, False]


def test_slow_engines_take_fewer_turns():
    rules = Rules(turns=5, always=("ours",), least=2, patience=10.0)
    assert rules.wants_turn("ours", [100.0] * 4)
    assert not rules.wants_turn("ours", [1.0] * 5)
    assert rules.wants_turn("peer", [100.0])
    assert not rules.wants_turn("peer", [100.0] * 2)
    assert rules.wants_turn("peer", [1.0] * 4)


def test_an_engine_that_is_not_installed_is_told_before_anything_starts():
    assert EngineSpec("x", needs=("no_such_package",)).why_not("base") == (
        "not installed: no_such_package"
    )
    assert EngineSpec("x", models=("tiny",)).why_not("base") == "not measured: only for tiny"
    assert EngineSpec("x", refusal="too hard").why_not("base") == "not measured: too hard"
    assert ENGINES["int8-layers"].why_not("base") is None


def test_a_result_is_median_and_spread():
    result = Result([1.0, 2.0, 4.0], tokens=10)
    assert (result.speed, result.spread) == (5.0, 1.5)
