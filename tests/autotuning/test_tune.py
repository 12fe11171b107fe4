"""`autotune` on small models: what it finds, that it goes on, that the model stays as it was."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from conversion.models import make_transformer

from keras_int8nmt import (
    CalibrationCallback,
    Candidate,
    ConversionError,
    QuantDense,
    Translator,
    autotune,
    convert,
)
from keras_int8nmt.autotuning import workbench
from keras_int8nmt.calibration import CalibrationError, observers, settle
from keras_int8nmt.transformer import Transformer
from keras_int8nmt.transformer_conversion import transformer_matmuls

ENCODER, DECODER = "transformer/encoder_block_0/", "transformer/decoder_block_0/"
LOSSES = {ENCODER + "ffn_out": 2.0, DECODER + "cross_attention/QK": 0.06, "output_projection": 0.3}


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


def values(model):
    return [w.numpy() for _, o in observers(model) for w in o.weights]


def test_the_known_optimum_is_found_and_runs_on_the_fast_path():
    model = make_transformer()
    before = values(model)
    result = autotune(model, metric=Losses(), tolerance=0.1)
    assert set(result.floats) == {ENCODER + "ffn_out", "output_projection"}
    assert list(result) == [m.name for m in transformer_matmuls(model)]
    assert (result.baseline, result.metric) == (30.0, "points")
    assert result.trial.loss == pytest.approx(0.06)
    assert result.sensitivities[ENCODER + "ffn_out"] == pytest.approx(2.0)
    for old, new in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(old, new)
    mixed = convert(model, policy=result)
    floats = [r.name for r in mixed.conversion_report.rows if r.precision == "float32"]
    assert floats == result.floats
    sources = [[3, 4, 5, 1], [9, 1], [7, 8, 20, 31, 12, 1]]
    found = [
        [r.hypotheses[0].tokens for r in Translator(mixed, None, path=path).translate_ids(sources)]
        for path in ("fast", "layers")
    ]
    assert found[0] == found[1]


def test_where_int8_is_good_enough_one_evaluation_is():
    metric = Losses()
    result = autotune(make_transformer(), metric=metric, tolerance=3.0)
    assert result.floats == []
    assert len(metric.calls) == 2
    assert result.sensitivities == {}


@pytest.mark.parametrize("stop_at", [0, 1, 5, 25])
def test_a_run_that_was_stopped_goes_on_and_repeats_nothing(tmp_path, stop_at):
    model, state = make_transformer(), tmp_path / "state.jsonl"
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


def test_numbers_of_another_model_are_not_used(tmp_path):
    state = tmp_path / "state.jsonl"
    autotune(make_transformer(), metric=Losses(), state=state, tolerance=3.0)
    other = Losses()
    autotune(make_transformer("naive"), metric=other, state=state, tolerance=3.0)
    assert len(other.calls) == 2


def test_the_budget_holds_and_without_anything_good_all_is_float32():
    metric = Losses(dict.fromkeys(LOSSES, 5.0))
    result = autotune(make_transformer(), metric=metric, tolerance=0.0, budget=4)
    assert len(metric.calls) == 1 + 4
    assert result.exhausted
    assert set(result.values()) == {"float32"}
    converted = convert(make_transformer(), policy=result)
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
    model = make_transformer("symmetric", name="modes")
    own, naive = thresholds_of(model), thresholds_of(make_transformer("naive", name="modes"))
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
    copy = Transformer.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    settle(copy, "naive")
    return copy


def test_a_candidate_prepares_and_its_options_reach_convert(monkeypatch):
    given = []

    def recording(model, *, policy, **options):
        given.append((model, options))
        return convert(model, policy=policy)

    monkeypatch.setattr(workbench, "convert", recording)
    model = make_transformer("symmetric", name="modes")
    own, naive = thresholds_of(model), thresholds_of(make_transformer("naive", name="modes"))
    candidates = [
        Candidate("plain"),
        Candidate("with options", convert_options={"weights": "per_tensor"}),
        Candidate("copied", prepare=calibrated_copy),
    ]
    result = autotune(model, metric=wants(naive), candidates=candidates)
    assert result.candidate is candidates[2]
    assert [t.candidate for t in result.trials] == ["plain", "with options", "copied"]
    assert [options for _, options in given if options] == [{"weights": "per_tensor"}]
    assert any(m is not model for m, _ in given)
    assert [r.thresholds for r in result.convert(model).conversion_report.rows] == naive
    assert thresholds_of(model) == own


def test_models_of_users_are_tuned_by_a_metric():
    inputs = keras.Input((6,))
    x = QuantDense(8, activation="relu", name="first")(inputs)
    model = keras.Model(inputs, QuantDense(2, name="second")(x))
    data = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    model.predict(data, verbose=0, callbacks=[CalibrationCallback()])
    result = autotune(model, metric=Losses({"first": 1.0}))
    assert dict(result) == {"first": "float32", "second": "int8"}


# ---- what is refused ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tolerance": -0.1}, "`tolerance` must be a number of at least 0; received -0.1"),
        ({"tolerance": float("nan")}, "`tolerance`"),
        ({"budget": 0}, "`budget` must be a whole number of at least 1; received 0"),
        ({"budget": 2.5}, "`budget`"),
        ({"modes": "naive"}, "`modes` must be None or a list of some of naive"),
        ({"modes": []}, "`modes`"),
        ({"modes": ["best"]}, "received \\['best'\\]"),
        ({"candidates": []}, "`candidates`"),
        ({"candidates": [Candidate("a"), Candidate("a")]}, "names of their own"),
        ({"metric": None}, "Without a `metric`, autotune needs"),
        ({"sample": ["a"], "references": []}, "received 1 sentences and 0 references"),
        ({"metric": lambda model: float("nan")}, "must give a finite number; it gave nan"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        autotune(make_transformer(), **{"metric": Losses(), **arguments})


def test_a_model_that_is_not_calibrated_is_refused_and_thresholds_survive_errors():
    with pytest.raises(ConversionError, match="calibrate first"):
        autotune(make_transformer(None), metric=Losses())
    model = make_transformer()
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
    model = make_transformer("symmetric", name="thresholds_only")
    for _, observer in observers(model):
        observer.reset()
    with pytest.raises(CalibrationError, match="no data"):
        autotune(model, metric=Losses(), modes=["naive"])
    assert autotune(model, metric=Losses(), tolerance=3.0).floats == []


def test_the_result_is_plain_json():
    result = autotune(make_transformer(), metric=Losses(), budget=30)
    assert json.loads(result.to_json()) == result.to_dict()
