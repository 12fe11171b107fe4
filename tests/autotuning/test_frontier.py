"""`Frontier`: every set on it is the best for its cost, by comparison with all subsets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from keras_int8nmt.autotuning.frontier import Frontier

NAMES = tuple("abcdefgh")


def subsets(names):
    return [set(c) for n in range(len(names) + 1) for c in combinations(names, n)]


def random_problem(seed):
    rng = np.random.default_rng(seed)
    costs = {n: float(c) for n, c in zip(NAMES, rng.integers(1, 50, len(NAMES)), strict=True)}
    harms = {n: float(h) for n, h in zip(NAMES, rng.exponential(1, len(NAMES)), strict=True)}
    return costs, harms


@pytest.mark.parametrize("seed", range(4))
def test_no_set_is_cheaper_than_one_on_the_frontier_and_leaves_no_more(seed):
    costs, harms = random_problem(seed)
    frontier = Frontier(costs, harms)

    def cost(chosen):
        return sum(costs[n] for n in chosen)

    def left(chosen):
        return sum(harms[n] for n in NAMES if n not in chosen)

    assert frontier[0] == frozenset()
    assert frontier[len(frontier) - 1] == frozenset(NAMES)
    for i in range(len(frontier)):
        chosen = frontier[i]
        assert frontier.left(i) == pytest.approx(left(chosen) / left([]), abs=1e-12)
        assert frontier.cost(i) == pytest.approx(cost(chosen) / cost(NAMES), abs=1e-3)
        cheaper = [s for s in subsets(NAMES) if cost(s) < cost(chosen)]
        assert all(left(s) > left(chosen) for s in cheaper)
    lefts = [frontier.left(i) for i in range(len(frontier))]
    assert lefts == sorted(lefts, reverse=True)
    assert (
        frontier.left(frontier.first_with(0.3)) <= 0.3 < frontier.left(frontier.first_with(0.3) - 1)
    )


def test_what_does_no_harm_is_float_in_the_last_set_alone():
    frontier = Frontier({"a": 1.0, "b": 1.0, "c": 0.0}, {"a": 2.0, "b": 0.0, "c": 1.0})
    sets = [frontier[i] for i in range(len(frontier))]
    assert sets == [frozenset(), {"c"}, {"a", "c"}, {"a", "b", "c"}]


@pytest.mark.parametrize("costs", [{"a": 0.0, "b": 0.0}, {"a": 1.0, "b": 3.0}])
def test_without_any_harm_there_are_nothing_and_everything(costs):
    frontier = Frontier(costs, {"a": 0.0, "b": 0.0})
    assert [frontier[i] for i in range(len(frontier))] == [frozenset(), {"a", "b"}]
    assert frontier.first_with(0.0) < len(frontier)
