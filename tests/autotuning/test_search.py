"""`Search` on made-up scores whose best assignment is known: it finds it, within its budget."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from keras_int8nmt.autotuning.search import Problem, Scored, Search, Setting, Times

PLAIN = Setting("plain")


class Toy:
    """MatMuls with known losses, which add up unless `combine` says otherwise."""

    def __init__(self, losses, savings, combine=sum, settings=(PLAIN,), factor=None):
        self.losses, self.savings, self.combine = losses, savings, combine
        self.settings, self.factor = list(settings), factor or {}
        self.asked = []

    def loss(self, floats, setting=PLAIN):
        of = self.combine(h for n, h in self.losses.items() if n not in floats)
        return of * self.factor.get(setting, 1.0)

    def evaluate(self, setting, floats):
        assert (setting, floats) not in self.asked
        self.asked.append((setting, floats))
        return Scored(30.0 - self.loss(floats, setting))

    def search(self, tolerance, budget=200, harms="known"):
        known = {"known": lambda setting: self.losses, "measured": None}
        problem = Problem(
            times={n: Times(1.0, 1.0 + s) for n, s in self.savings.items()},
            settings=self.settings,
            baseline=30.0,
            tolerance=tolerance,
            budget=budget,
            evaluate=self.evaluate,
            harms=known.get(harms, harms),
        )
        outcome = Search(problem).run()
        assert len(self.asked) == len(outcome.trials) <= budget
        assert [t.number for t in outcome.trials] == list(range(1, len(outcome.trials) + 1))
        return outcome

    def optimum(self, tolerance):
        """Time that the best assignment gives away, by trying all."""
        names = list(self.losses)
        every = [set(c) for n in range(len(names) + 1) for c in combinations(names, n)]
        good = [f for f in every if self.loss(f) <= tolerance + 1e-12]
        return min(sum(self.savings[n] for n in floats) for floats in good)


def random_toy(seed, count=10):
    rng = np.random.default_rng(seed)
    names = [f"m{i}" for i in range(count)]
    losses = dict(zip(names, map(float, rng.exponential(1, count)), strict=True))
    savings = dict(zip(names, map(float, rng.integers(1, 30, count)), strict=True))
    return Toy(losses, savings)


def given_away(toy, outcome):
    # Where nothing was good enough all is float.
    floats = toy.savings if outcome.chosen is None else outcome.chosen.floats
    return sum(toy.savings[n] for n in floats)


@pytest.mark.parametrize("tolerance", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("harms", ["known", "measured"])
def test_the_known_optimum_is_found(seed, tolerance, harms):
    toy = random_toy(seed)
    outcome = toy.search(tolerance, harms=harms)
    assert outcome.chosen is None or outcome.chosen.loss <= tolerance
    assert given_away(toy, outcome) == pytest.approx(toy.optimum(tolerance))
    assert not outcome.exhausted


def test_greedy_by_harm_for_time_would_miss_this_optimum():
    toy = Toy({"a": 5.0, "b": 4.0, "c": 4.0}, {"a": 3.0, "b": 2.5, "c": 2.5})
    outcome = toy.search(5.0)
    assert set(outcome.chosen.floats) == {"b", "c"}


def test_where_everything_is_good_enough_in_int8_that_is_all():
    toy = Toy({"a": 0.03, "b": 0.04}, {"a": 1.0, "b": 1.0})
    outcome = toy.search(0.1)
    assert outcome.chosen.floats == ()
    assert len(outcome.trials) == 1
    assert outcome.sensitivities == {}


def test_of_several_modes_that_are_good_enough_the_best_is_taken():
    modes = [Setting("plain", mode) for mode in ("naive", "symmetric", "conjugate")]
    factor = dict(zip(modes, (0.5, 0.1, 0.3), strict=True))
    toy = Toy({"a": 0.1, "b": 0.05}, {"a": 1.0, "b": 1.0}, settings=modes, factor=factor)
    outcome = toy.search(0.1)
    assert outcome.chosen.mode == "symmetric"
    assert len(outcome.trials) == 3


def test_of_several_that_are_not_the_best_one_is_refined():
    modes = [Setting("plain", mode) for mode in ("naive", "symmetric")]
    toy = random_toy(3)
    toy.settings, toy.factor = modes, {modes[0]: 3.0}
    outcome = toy.search(0.5)
    assert outcome.chosen.mode == "symmetric"
    assert given_away(toy, outcome) == pytest.approx(toy.optimum(0.5))


def test_a_slower_candidate_is_taken_only_where_the_fast_ones_end_up_slower():
    slow = Setting("slow", cost=1.5)
    losses, savings = {"a": 5.0, "b": 0.01}, {"a": 3.0, "b": 3.0}
    toy = Toy(losses, savings, settings=[slow, PLAIN], factor={slow: 0.001})
    # a in float32: 4 + 1; both in the slow INT8: 3.
    assert toy.search(0.1).chosen.candidate == "slow"
    toy = Toy(losses, savings | {"a": 0.5}, settings=[slow, PLAIN], factor={slow: 0.001})
    # 1.5 + 1 against 3.
    chosen = toy.search(0.1).chosen
    assert (chosen.candidate, chosen.floats) == ("plain", ("a",))
    toy = Toy({"a": 0.01}, {"a": 1.0}, settings=[slow, PLAIN])
    toy.search(0.1)
    assert [setting for setting, _ in toy.asked] == [PLAIN]


def test_without_tolerance_only_what_does_nothing_stays_int8():
    toy = Toy({"a": 0.0, "b": 2.0, "c": 0.0, "d": 0.001}, dict.fromkeys("abcd", 1.0))
    assert toy.search(0.0).chosen.floats == ("b", "d")


def test_wrong_estimates_cost_evaluations_and_no_quality():
    toy = random_toy(1)
    wrong = dict(zip(toy.losses, reversed(toy.losses.values()), strict=True))
    outcome = toy.search(1.0, harms=lambda setting: wrong)
    assert outcome.chosen.loss <= 1.0
    floats = set(outcome.chosen.floats)
    # Nothing of it could go back to INT8 by itself.
    assert all(toy.loss(floats - {name}) > 1.0 for name in floats)


def test_losses_that_do_not_add_up_are_met_by_the_score():
    def saturated(losses):
        return 10 * (1 - np.exp(-sum(losses)))

    toy = random_toy(2)
    toy.combine = saturated
    outcome = toy.search(2.0)
    assert outcome.chosen.loss <= 2.0
    assert given_away(toy, outcome) == pytest.approx(toy.optimum(2.0))


@pytest.mark.parametrize("budget", [1, 2, 5, 8])
@pytest.mark.parametrize("harms", ["known", "measured"])
def test_the_budget_holds_and_what_was_good_enough_by_then_counts(budget, harms):
    toy = random_toy(4, count=40)
    outcome = toy.search(0.5, budget=budget, harms=harms)
    assert outcome.exhausted
    assert len(toy.asked) == budget
    good = [t for t in outcome.trials if t.good]
    assert outcome.chosen is (min(good, key=lambda t: t.time) if good else None)


def test_with_nothing_good_enough_nothing_is_chosen():
    toy = Toy(
        {"a": 5.0, "b": 5.0}, {"a": 1.0, "b": 1.0}, combine=lambda losses: max(losses, default=0.0)
    )
    outcome = toy.search(0.1)
    assert outcome.chosen is None
    assert not outcome.exhausted


def test_many_matmuls_take_few_evaluations():
    rng = np.random.default_rng(0)
    names = [f"m{i}" for i in range(133)]
    losses = {n: float(h) for n, h in zip(names, rng.lognormal(-4, 1.5, 133), strict=True)}
    toy = Toy(losses, {n: float(s) for n, s in zip(names, rng.choice([1, 4, 9], 133), strict=True)})
    outcome = toy.search(sum(losses.values()) / 4)
    assert not outcome.exhausted
    assert len(outcome.trials) < 60


def test_the_same_scores_give_the_same_trials():
    first, second = (random_toy(4).search(0.5) for _ in range(2))
    assert first == second
