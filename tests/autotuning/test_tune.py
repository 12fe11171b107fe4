"""`autotune` on small models: what it finds, that it goes on, that the model stays as it was."""

from __future__ import annotations

import functools
import json
import re

import keras
import numpy as np
import pytest
from helpers.models import calibrate_eagerly

from keras_int8nmt import (
    Candidate,
    ConversionError,
    QuantDense,
    autotune,
    convert,
)
from keras_int8nmt.autotuning import workbench
from keras_int8nmt.calibration import CalibrationError, observers, settle
from keras_int8nmt.conversion import converter

NAMES = [f"dense_{i}" for i in range(6)]


@pytest.fixture(scope="module", autouse=True)
def _without_counting():
    """What a model multiplies in float is found in its traced graph, half the time of `convert`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converter, "with_float_products", lambda report, *_: report)
        yield


LOSSES = {"dense_1": 2.0, "dense_2": 0.06, "dense_4": 0.3}


class Losses:
    """A metric: 30 less the known losses of what is INT8; it counts its calls."""

    name = "points"

    def __init__(self, losses=LOSSES, stop_at=None):
        self.losses, self.stop_at, self.calls = losses, stop_at, []

    def __call__(self, model):
        if len(self.calls) == self.stop_at:
            raise KeyboardInterrupt
        report = getattr(model, "conversion_report", None)
        rows = [] if report is None else report.rows
        int8 = frozenset(row.name for row in rows if row.precision == "int8")
        self.calls.append(int8)
        return 30.0 - sum(loss for name, loss in self.losses.items() if name in int8)


@functools.cache
def make_model(mode="symmetric", use="shared"):
    """Six products in a row, calibrated by `mode` unless that is None; `use` tells copies apart."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8,))
    for name in NAMES:
        x = QuantDense(8, activation="tanh", name=name)(x)
    model = keras.Model(inputs, x)
    if mode is not None:
        data = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
        calibrate_eagerly(model, data, mode=mode)
    return model


def values(model):
    return [w.numpy() for _, o in observers(model) for w in o.variables]


def test_the_known_optimum_is_found_and_the_model_is_left_as_it_was():
    model = make_model()
    before = values(model)
    result = autotune(model, metric=Losses(), tolerance=0.1)
    assert result.floats == ["dense_1", "dense_4"]
    assert list(result) == NAMES
    assert (result.baseline, result.metric) == (30.0, "points")
    assert result.trial.loss == pytest.approx(0.06)
    assert result.sensitivities["dense_1"] == pytest.approx(2.0)
    for old, new in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(old, new)
    rows = convert(model, policy=result).conversion_report.rows
    assert [row.name for row in rows if row.precision == "float32"] == result.floats
    assert json.loads(result.to_json()) == result.to_dict()


def test_where_int8_is_good_enough_one_evaluation_is():
    metric = Losses()
    result = autotune(make_model(), metric=metric, tolerance=3.0)
    assert result.floats == []
    assert len(metric.calls) == 2
    assert result.sensitivities == {}


@pytest.mark.parametrize(
    "stop_at", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1, 7))]
)
def test_a_run_that_was_stopped_goes_on_and_repeats_nothing(tmp_path, stop_at):
    model, state = make_model(), tmp_path / "state.jsonl"
    whole = Losses()
    expected = autotune(model, metric=whole).to_dict()
    stopped, rest = Losses(stop_at=stop_at), Losses()
    with pytest.raises(KeyboardInterrupt):
        autotune(model, metric=stopped, state=state)
    assert autotune(model, metric=rest, state=state).to_dict() == expected
    assert stopped.calls + rest.calls == whole.calls
    # Another tolerance begins with what is known.
    more = Losses()
    autotune(model, metric=more, state=state, tolerance=0.01)
    assert not set(more.calls) & set(whole.calls)


class SentencesOfPoints(Losses):
    """The same of 300 sentences each: 30 points, less what comes and goes with what is INT8."""

    def __init__(self, losses, stop_at=None):
        super().__init__(losses, stop_at)
        self.effects = np.random.default_rng(1).normal(0, 2, (len(NAMES), 300))
        self.effects -= self.effects.mean(axis=1, keepdims=True)

    def __call__(self, model):
        score = super().__call__(model)
        return score + self.effects[[name in self.calls[-1] for name in NAMES]].sum(axis=0)


def test_a_loss_within_chance_changes_nothing_and_one_that_shows_does(tmp_path):
    model, state = make_model(), tmp_path / "state.jsonl"
    chance = SentencesOfPoints(dict.fromkeys(NAMES, 0.05))
    result = autotune(model, metric=chance, tolerance=0.1)
    assert (result.floats, len(result.trials), len(chance.calls)) == ([], 1, 2)
    trial = result.trials[0]
    assert trial.loss == pytest.approx(0.3)
    assert trial.loss < trial.margin
    assert trial.error == pytest.approx(2 * np.sqrt(6 / 300), rel=0.1)
    assert (result.sentences, result.confidence) == (300, 0.95)
    assert 10_000 < result.sentences_needed < 20_000
    # Taken as it was measured, it is no longer good enough.
    by_score = autotune(model, metric=SentencesOfPoints(chance.losses), confidence=0.5)
    assert len(by_score.floats) > 0
    # Interrupted and gone on with, too: the float model is not scored again.
    shown, stopped = {**chance.losses, "dense_1": 3.0}, 3
    with pytest.raises(KeyboardInterrupt):
        autotune(model, metric=SentencesOfPoints(shown, stopped), state=state)
    rest = SentencesOfPoints(shown)
    result = autotune(model, metric=rest, state=state)
    assert result.floats == ["dense_1"]
    assert frozenset() not in rest.calls
    assert result.to_dict() == autotune(model, metric=SentencesOfPoints(shown)).to_dict()


def test_outside_a_terminal_evaluations_are_told_in_lines(monkeypatch, capsys):
    monkeypatch.setattr("keras_int8nmt.autotuning.tune._LINE", 0.0)
    autotune(make_model(), metric=Losses(), tolerance=3.0, progress=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"autotune: 1 of 60, \d+ s, points 27\.64, loss \+2\.36, 0 MatMuls in float32: good", line
    )


def test_numbers_of_another_model_are_not_used(tmp_path):
    state = tmp_path / "state.jsonl"
    autotune(make_model(), metric=Losses(), state=state, tolerance=3.0)
    other = Losses()
    autotune(make_model("naive"), metric=other, state=state, tolerance=3.0)
    assert len(other.calls) == 2


def test_the_budget_holds_and_without_anything_good_all_is_float32():
    metric = Losses(dict.fromkeys(NAMES, 5.0))
    result = autotune(make_model(), metric=metric, tolerance=0.0, budget=4)
    assert len(metric.calls) == 1 + 4
    assert result.exhausted
    assert set(result.values()) == {"float32"}
    converted = convert(make_model(), policy=result)
    assert converted.conversion_report.precision == "float32"


# ---- modes and candidates ----


def wants(thresholds):
    """A metric that knows which thresholds are good."""

    def metric(model):
        report = getattr(model, "conversion_report", None)
        if report is None or [row.thresholds for row in report.rows] == thresholds:
            return 1.0
        return 0.5

    return metric


def thresholds_of(model):
    return [row.thresholds for row in convert(model).conversion_report.rows]


def test_the_best_mode_is_chosen_and_applied_and_the_model_keeps_its_own():
    model = make_model("symmetric", "modes")
    own, naive = thresholds_of(model), thresholds_of(make_model("naive"))
    assert own != naive
    result = autotune(model, metric=wants(naive), modes=["independent", "naive", "symmetric"])
    assert result.mode == "naive"
    assert len(result.trials) == 3
    assert thresholds_of(model) == own
    try:
        assert [r.thresholds for r in result.convert(model).conversion_report.rows] == naive
        # Applied to the model itself.
        assert thresholds_of(model) == naive
    finally:
        settle(model, "symmetric")


def calibrated_copy(model):
    copy = keras.models.clone_model(model)
    for old, new in zip(model.variables, copy.variables, strict=True):
        new.assign(old)
    settle(copy, "naive")
    return copy


def test_a_candidate_prepares_and_its_options_reach_convert(monkeypatch):
    given = []

    def recording(model, *, policy, **options):
        given.append((model, options))
        return convert(model, policy=policy)

    monkeypatch.setattr(workbench, "convert", recording)
    model = make_model("symmetric", "modes")
    own, naive = thresholds_of(model), thresholds_of(make_model("naive"))
    candidates = [
        Candidate("plain"),
        Candidate("with options", convert_options={"weights": "per_tensor"}),
        Candidate("copied", prepare=calibrated_copy),
    ]
    result = autotune(model, metric=wants(naive), candidates=candidates)
    assert result.candidate is candidates[2]
    assert [t.candidate for t in result.trials] == ["plain", "with options", "copied"]
    # Once to see what it has in INT8, once to score it.
    assert [options for _, options in given if options] == [{"weights": "per_tensor"}] * 2
    assert any(m is not model for m, _ in given)
    assert [r.thresholds for r in result.convert(model).conversion_report.rows] == naive
    assert thresholds_of(model) == own


# ---- what is refused ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tolerance": -0.1}, "`tolerance` must be a number of at least 0; received -0.1"),
        ({"tolerance": float("nan")}, "`tolerance`"),
        ({"confidence": 1}, "`confidence` must be a number from 0.5 to below 1; received 1"),
        ({"confidence": 0.4}, "`confidence`"),
        ({"budget": 0}, "`budget` must be a whole number of at least 1; received 0"),
        ({"budget": 2.5}, "`budget`"),
        ({"modes": "naive"}, "`modes` must be None or a list of modes; received 'naive'"),
        ({"modes": []}, "`modes`"),
        ({"modes": ["best"]}, "Unknown calibration mode 'best'"),
        ({"candidates": []}, "`candidates`"),
        ({"candidates": [Candidate("a"), Candidate("a")]}, "names of their own"),
        ({"metric": None}, "Without a `metric`, autotune needs"),
        ({"sample": ["a"], "references": []}, "received 1 sentences and 0 references"),
        ({"metric": lambda model: float("nan")}, "must give a finite number; it gave nan"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        autotune(make_model(), **{"metric": Losses(), **arguments})


def test_a_model_that_is_not_calibrated_is_refused_and_thresholds_survive_errors():
    with pytest.raises(ConversionError, match="calibrate first"):
        autotune(make_model(None), metric=Losses())
    model = make_model()
    before = values(model)

    def failing(candidate_model):
        raise RuntimeError("no such recipe")

    with pytest.raises(RuntimeError, match="no such recipe"):
        autotune(
            model,
            metric=Losses(),
            modes=["naive"],
            candidates=[Candidate("plain"), Candidate("failing", prepare=failing)],
        )
    for old, new in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_modes_need_histograms():
    model = make_model("symmetric", "thresholds only")
    for _, observer in observers(model):
        observer.reset()
    with pytest.raises(CalibrationError, match="no data"):
        autotune(model, metric=Losses(), modes=["naive"])
    assert autotune(model, metric=Losses(), tolerance=3.0).floats == []


def spoil(before, after):
    """Some columns between two layers a thousand times as large, and back: the same function in
    float32. One scale for all of them leaves no code for the others, and the rows that undo it are
    lost among the weights.
    """
    factors = np.where(np.arange(8) % 4 == 0, 1000.0, 1.0).astype(np.float32)
    before.kernel.assign(before.kernel.numpy() * factors)
    before.bias.assign(before.bias.numpy() * factors)
    after.kernel.assign(after.kernel.numpy() / factors[:, None])


def test_without_tolerance_a_layer_whose_int8_is_hopeless_is_float32():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8,))
    for name in NAMES:
        x = QuantDense(8, activation="relu", bias_initializer="ones", name=name)(x)
    model = keras.Model(inputs, x)
    spoil(model.get_layer("dense_2"), model.get_layer("dense_3"))
    data = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    calibrate_eagerly(model, data, mode="naive")
    exact = np.asarray(model(data))
    signal = np.sum(np.square(exact - exact.mean(axis=0)))

    def in_tenths(candidate):
        """Less a point for each tenth of the output's variance that is noise."""
        noise = np.sum(np.square(np.asarray(candidate(data)) - exact))
        return -float(np.floor(10 * noise / signal))

    assert in_tenths(convert(model)) < 0
    assert autotune(model, metric=in_tenths, tolerance=0.0).floats == ["dense_3"]
