"""Batches of an epoch: each pair once, within the budget, in few shapes, by a seed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from keras_int8nmt.training.batches import BatchPlan, bucket_widths

LONGEST = np.random.default_rng(0).integers(1, 60, 1000)


def plan(**changes) -> BatchPlan:
    settings = {"batch_tokens": 500, "max_length": 64, "multiple": 4, "seed": 7, **changes}
    return BatchPlan(
        changes.pop("longest", LONGEST),
        **{k: settings[k] for k in list(settings) if k != "longest"},
    )


def as_lists(epoch):
    return [(batch.width, batch.rows, batch.pairs.tolist()) for batch in epoch]


@pytest.mark.parametrize(("most", "multiple"), [(1, 4), (7, 4), (64, 4), (250, 8), (256, 1)])
def test_widths_rise_in_multiples_to_the_longest(most, multiple):
    widths = bucket_widths(most, multiple)
    assert widths == sorted(set(widths))
    assert widths[-1] == most
    assert all(width % multiple == 0 for width in widths[:-1])
    # No sentence is padded by more than a quarter, or by more than one multiple.
    for narrower, wider in itertools.pairwise(widths):
        assert wider - narrower <= max(multiple, 0.25 * narrower)


@pytest.mark.parametrize("seed", [None, 0, 7])
def test_every_pair_is_in_one_batch_of_each_epoch(seed):
    for number in range(3):
        pairs = np.concatenate([batch.pairs for batch in plan(seed=seed).epoch(number)])
        assert sorted(pairs) == list(range(1000))


@pytest.mark.parametrize("tokens", [1, 30, 64, 500, 10**6])
def test_a_batch_is_within_the_budget_but_for_a_pair_that_is_longer_by_itself(tokens):
    for width, rows, pairs in plan(batch_tokens=tokens).epoch(0):
        assert 1 <= len(pairs) <= rows
        assert rows * width <= tokens or rows == 1
        # Its width is the least that holds them.
        assert max(LONGEST[pairs]) <= width


def test_shapes_are_as_few_as_widths_and_hardly_a_row_is_padding():
    batches = plan().epoch(0)
    shapes = {(rows, width) for width, rows, _ in batches}
    assert shapes == set(plan().shapes())
    assert len({width for _, width in shapes}) == len(shapes) <= len(bucket_widths(64, 4))
    for rows, width in shapes:
        of_shape = [batch for batch in batches if batch.width == width]
        assert sum(rows - len(batch.pairs) for batch in of_shape) < len(of_shape)


def test_orders_are_of_the_seed_and_the_epoch():
    assert as_lists(plan().epoch(2)) == as_lists(plan().epoch(2))
    assert as_lists(plan().epoch(2)) != as_lists(plan().epoch(3))
    assert as_lists(plan().epoch(2)) != as_lists(plan(seed=8).epoch(2))
    together = [{frozenset(batch.pairs.tolist()) for batch in plan().epoch(n)} for n in (0, 1)]
    # Not only the order of batches: who is with whom.
    assert len(together[0] & together[1]) < 5


def test_without_a_seed_pairs_stay_in_their_order():
    epoch = plan(seed=None).epoch(0)
    assert as_lists(epoch) == as_lists(plan(seed=None).epoch(5))
    for width in {batch.width for batch in epoch}:
        pairs = np.concatenate([batch.pairs for batch in epoch if batch.width == width])
        assert (np.diff(pairs) > 0).all() or len(pairs) == 1


@pytest.mark.parametrize("seed", [None, *range(20)])
def test_the_first_two_batches_differ_in_width_since_keras_asks_them_for_the_shape(seed):
    longest = np.array([4] * 90 + [8] * 3)
    first, second, *_ = plan(longest=longest, seed=seed, batch_tokens=32).epoch(seed or 0)
    assert first.width != second.width
