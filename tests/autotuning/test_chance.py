"""What chance does to a search: on made-up sentences whose right decision is known."""

from __future__ import annotations

import numpy as np
import pytest

from keras_int8nmt.autotuning.chance import margin, sentences_needed, student
from keras_int8nmt.autotuning.metric import Measured, measure, uncertainty
from keras_int8nmt.autotuning.search import Problem, Scored, Search, Setting, Times

SENTENCES = 400
TOLERANCE = 0.1
NAMES = [f"m{i}" for i in range(40)]


class Points:
    """A score a sentence, in hundredths: what MatMuls in INT8 do to each adds up.

    Args:
        losses: What INT8 of a MatMul takes from every sentence.
        seed: Of what it does to single sentences, up and down, nothing in the mean of many.
        count: Sentences.
    """

    def __init__(self, losses, seed, count=SENTENCES):
        rng = np.random.default_rng(seed)
        # Each changes a twentieth of the sentences, as other words do.
        self.effects = {
            name: rng.normal(0, 5, count) * (rng.random(count) < 0.05) - losses.get(name, 0.0)
            for name in NAMES
        }
        self.float = Measured(0.0, np.zeros((count, 1)))
        self.evaluated = []

    def measured(self, floats):
        rows = sum((e for n, e in self.effects.items() if n not in floats), np.zeros(1))
        rows = np.broadcast_to(rows, len(self.float.rows))
        return Measured(float(rows.mean()), rows[:, np.newaxis])

    def evaluate(self, setting, floats):
        self.evaluated.append(floats)
        found = self.measured(floats)
        sure = self.of(found.rows[:, 0])
        return Scored(found.score, sure.error, sure.differing)

    @staticmethod
    def of(differences):
        """As `uncertainty` has it; of a mean the bootstrap's error has a formula."""
        error = float(np.std(differences) / np.sqrt(len(differences)))
        return type("Sure", (), {"error": error, "differing": int(np.sum(differences != 0))})

    def search(self, confidence=0.95, harms=None):
        problem = Problem(
            times={name: Times(1.0, 3.5) for name in NAMES},
            settings=[Setting("plain")],
            baseline=0.0,
            tolerance=TOLERANCE,
            budget=100,
            evaluate=self.evaluate,
            harms=lambda setting: dict.fromkeys(NAMES, 1.0) | (harms or {}),
            confidence=confidence,
        )
        return Search(problem).run()


def test_quantiles_are_those_of_the_table():
    table = {1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 10: 1.812, 30: 1.697, 1000: 1.646}
    for freedom, expected in table.items():
        assert student(0.95, freedom) == pytest.approx(expected, abs=1e-3)
        assert student(0.5, freedom) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("worse", "told"), [(1, False), (3, False), (5, True), (20, True)])
def test_a_few_sentences_that_are_all_worse_are_no_evidence_yet(worse, told):
    differences = np.zeros(300)
    differences[:worse] = -1.0
    found = Points.of(differences)
    loss = -float(differences.mean())
    assert (loss > margin(loss, found.error, found.differing, 0.95)) == told
    # One of them is not even at any confidence; without one everything counts.
    assert margin(loss, found.error, found.differing, 0.5) == 0.0


def test_the_error_of_a_mean_is_that_of_its_formula():
    differences = np.random.default_rng(0).normal(0.1, 1.0, 500)

    def scores(model):
        return differences if model == "int8" else np.zeros(500)

    found = uncertainty(scores, measure(scores, "float"), measure(scores, "int8"))
    assert found.error == pytest.approx(Points.of(differences).error, rel=0.08)
    assert found.differing == 500
    same = uncertainty(scores, measure(scores, "float"), measure(scores, "float"))
    assert (same.error, same.differing) == (0.0, 0)


def test_what_is_all_chance_stays_int8_after_one_evaluation():
    """As often as the confidence says; judged by the bare score it is put into float."""
    kept, kept_by_score, floats_by_score = 0, 0, []
    for seed in range(200):
        toy = Points({}, seed)
        outcome = toy.search()
        kept += outcome.chosen.floats == () and len(toy.evaluated) == 1
        if seed < 40:
            toy = Points({}, seed)
            chosen = toy.search(confidence=0.5).chosen
            kept_by_score += len(toy.evaluated) == 1
            floats_by_score.append(0 if chosen is None else len(chosen.floats))
    assert kept >= 200 * 0.93
    # What this is for.
    assert kept_by_score < 30
    assert max(floats_by_score) > 10


def test_a_loss_that_the_sentences_show_is_never_waved_through():
    for seed in range(50):
        toy = Points({"m7": 1.0}, seed)
        whole = -float(np.mean(sum(toy.effects.values())))
        outcome = toy.search(harms={"m7": 20.0})
        sure = Points.of(sum(toy.effects.values()))
        shown = whole > max(TOLERANCE, 1.66 * sure.error)
        assert shown == (outcome.chosen.floats != ())
        if shown:
            assert outcome.chosen.loss <= max(TOLERANCE, outcome.chosen.margin)
    # Three errors and more: shown by nearly all samples.
    found = [Points({"m7": 1.5}, seed).search(harms={"m7": 20.0}) for seed in range(50)]
    assert sum("m7" in outcome.chosen.floats for outcome in found) >= 48
    # And nothing else is put into float but by chance.
    assert np.median([len(outcome.chosen.floats) for outcome in found]) == 1


def test_a_large_loss_is_never_good_enough_however_wrong_the_estimates():
    for seed in range(20):
        toy = Points({"m7": 8.0}, seed)
        outcome = toy.search(harms={"m7": 0.0})
        assert outcome.chosen is None or "m7" in outcome.chosen.floats


def test_as_many_sentences_as_are_said_show_the_tolerance_four_times_of_five():
    error = Points.of(sum(Points({}, 0).effects.values())).error
    needed = sentences_needed(SENTENCES, error, 0.5, 0.95)
    assert needed > SENTENCES
    shown = 0
    for seed in range(200):
        differences = sum(Points({"m0": 0.5}, seed, needed).effects.values())
        found = Points.of(differences)
        loss = -float(differences.mean())
        shown += loss > margin(loss, found.error, found.differing, 0.95)
    assert 0.7 < shown / 200 < 0.9
    assert sentences_needed(SENTENCES, error, 0.0, 0.95) is None


# ---- what a metric may give ----


class Sums:
    """A metric of sums: right ones in those there are."""

    name = "share"

    def __init__(self, rows):
        self.rows = rows

    def __call__(self, model):
        return self.rows[model]

    @staticmethod
    def of_sums(sums):
        return 100.0 * sums[0] / sums[1]


def test_a_metric_gives_a_score_or_numbers_of_sentences():
    assert measure(lambda model: 3, None) == Measured(3.0)
    assert measure(lambda model: np.array([0.5]), None) == Measured(0.5)
    found = measure(lambda model: np.array([True, False, True, True]), None)
    assert (found.score, len(found.rows)) == (0.75, 4)
    rows = np.random.default_rng(0).integers(1, 9, (2, 50, 2))
    sums = Sums(rows)
    one, other = measure(sums, 0), measure(sums, 1)
    assert one.score == pytest.approx(100.0 * rows[0, :, 0].sum() / rows[0, :, 1].sum())
    assert uncertainty(sums, one, other).error > 0.0
    assert uncertainty(sums, one, Measured(3.0)) is None


@pytest.mark.parametrize("wrong", [[0.1, 0.9], None, "0.3", np.zeros((2, 2)), np.zeros(0)])
def test_what_is_neither_is_named(wrong):
    with pytest.raises(ValueError, match="must give a number, or an array of one for each"):
        measure(lambda model: wrong, None)


def test_models_are_compared_on_the_same_sentences():
    def metric(model):
        return np.zeros(model)

    with pytest.raises(ValueError, match=r"as many numbers for each model; it gave 3 .* and 4"):
        uncertainty(metric, measure(metric, 3), measure(metric, 4))
    with pytest.raises(ValueError, match="must give a finite number"):
        measure(lambda model: np.array([1.0, np.nan]), None)
