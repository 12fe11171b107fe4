"""The paper's KL search: divergences worked by hand, and the whole search as plain loops."""

import math

import numpy as np
import pytest
from helpers.plain_kl import plain_search

from keras_int8nmt.thresholds import (
    kl as kl_search,
)
from keras_int8nmt.thresholds.kl import kl_bins

RNG = np.random.default_rng(0)
LOG = math.log


def divergences(counts, levels, candidates, **options):
    return kl_search.divergences(np.array(counts), levels, np.array(candidates), **options)


def test_divergence_by_hand_without_clipping():
    # P = (1, 3, 2, 2)/8; two levels: groups (1+3), (2+2), spread out: Q = (2, 2, 2, 2)/8.
    expected = 1 / 8 * LOG(1 / 2) + 3 / 8 * LOG(3 / 2)
    assert divergences([1, 3, 2, 2], 2, [4])[0] == pytest.approx(expected)


def test_divergence_by_hand_with_clipping_and_an_empty_bin():
    # After 4 bins: P = (4, 0, 1, 1 + 2)/8. Groups (4+0), (1+1); the empty bin gets nothing:
    # Q = (4, 0, 1, 1)/6.
    expected = (
        4 / 8 * LOG((4 / 8) / (4 / 6))
        + 1 / 8 * LOG((1 / 8) / (1 / 6))
        + 3 / 8 * LOG((3 / 8) / (1 / 6))
    )
    assert divergences([4, 0, 1, 1, 0, 2], 2, [4])[0] == pytest.approx(expected)


def test_divergence_by_hand_when_the_last_group_is_empty():
    # After 2 bins: P = (4, 0 + 1)/5, Q = (4, 1e-4)/(4 + 1e-4).
    q = np.array([4, 1e-4]) / (4 + 1e-4)
    expected = 4 / 5 * LOG(4 / 5 / q[0]) + 1 / 5 * LOG(1 / 5 / q[1])
    assert divergences([4, 0, 1], 2, [2])[0] == pytest.approx(expected)
    assert divergences([4, 0, 1], 2, [2], empty=0.0)[0] == math.inf


def test_search_by_hand():
    # Nine values in six bins, two levels.
    counts = [2, 2, 2, 2, 0, 1]
    by_hand = {
        # P = (2, 2, 2, 2, 0, 1)/9. Groups (2+2+2)/3 and (2+0+1)/2: Q = (2, 2, 2, 1.5, 0, 1.5)/9.
        6: 2 / 9 * LOG(2 / 1.5) + 1 / 9 * LOG(1 / 1.5),
        # The outlier goes into the fifth bin: P = (2, 2, 2, 2, 1)/9. Groups (2+2+2)/3, (2+0)/2:
        # Q = (2, 2, 2, 1, 1)/8.
        5: 7 / 9 * LOG(8 / 9) + 2 / 9 * LOG(16 / 9),
        # P = (2, 2, 2, 2 + 1)/9. Groups (2+2)/2 and (2+2)/2: Q = (2, 2, 2, 2)/8.
        4: 6 / 9 * LOG(8 / 9) + 3 / 9 * LOG(12 / 9),
        # P = (2, 2, 2 + 3)/9. Groups (2+2)/2 and 2: Q = (2, 2, 2)/6.
        3: 4 / 9 * LOG(6 / 9) + 5 / 9 * LOG(15 / 9),
        # Clips five of nine.
        2: math.inf,
    }
    # To four places: 0.0189, 0.0363, 0.0174, 0.1036.
    found = divergences(counts, 2, list(by_hand))
    np.testing.assert_allclose(found, list(by_hand.values()), rtol=1e-12)
    assert min(by_hand, key=by_hand.get) == 4
    assert kl_bins(np.array(counts), 2) == 4
    # What lies in the first bin, at zero, counts as what lies in the second.
    assert kl_bins(np.array([500, *counts[1:]]), 2) == 4


# Divergences of each number of bins that is kept, two levels. test_threshold has the thresholds.
ABOVE_ZERO = {  # nine values
    # Groups (2+2)/2 and (3+1+1)/3: Q = (2, 2, 0, 5/3, 5/3, 5/3)/9.
    6: 3 / 9 * LOG(9 / 5) + 2 / 9 * LOG(3 / 5),
    # P = (2, 2, 0, 3, 1 + 1)/9. Groups (2+2)/2, (3+1)/2: Q = (2, 2, 0, 2, 2)/8.
    5: 6 / 9 * LOG(8 / 9) + 3 / 9 * LOG(12 / 9),
    # P = (2, 2, 0, 3 + 2)/9. Groups (2+2)/2, 3: Q = (2, 2, 0, 3)/7.
    4: 4 / 9 * LOG(7 / 9) + 5 / 9 * LOG(35 / 27),
    # Clip five of nine and more.
    3: math.inf,
    2: math.inf,
}  # 0.0824, 0.0174, 0.0325
BELOW_ZERO = {  # twelve values
    # Groups (4+4)/2 and 4: Q is P.
    3: 0.0,
    # P = (4, 4 + 4)/12, Q = (4, 4)/8.
    2: 4 / 12 * LOG(8 / 12) + 8 / 12 * LOG(16 / 12),
}  # 0, 0.0566
MAGNITUDES = {  # all twenty-one
    # Groups (6+6+4)/3 and (3+1+1)/3.
    6: 12 / 21 * LOG(18 / 16) + 4 / 21 * LOG(12 / 16) + 3 / 21 * LOG(9 / 5) + 2 / 21 * LOG(3 / 5),
    # P = (6, 6, 4, 3, 1 + 1)/21. Groups (6+6+4)/3 and (3+1)/2: Q = (16/3, 16/3, 16/3, 2, 2)/20.
    5: 12 / 21 * LOG(15 / 14) + 4 / 21 * LOG(5 / 7) + 3 / 21 * LOG(10 / 7) + 2 / 21 * LOG(20 / 21),
    # P = (6, 6, 4, 3 + 2)/21. Groups (6+6)/2 and (4+3)/2: Q = (6, 6, 3.5, 3.5)/19.
    4: 12 / 21 * LOG(19 / 21) + 4 / 21 * LOG(152 / 147) + 5 / 21 * LOG(190 / 147),
    # P = (6, 6, 4 + 5)/21. Groups (6+6)/2 and 4: Q = (6, 6, 4)/16.
    3: 12 / 21 * LOG(16 / 21) + 9 / 21 * LOG(36 / 21),
    # P = (6, 6 + 9)/21, Q = (6, 6)/12.
    2: 6 / 21 * LOG(12 / 21) + 15 / 21 * LOG(30 / 21),
}  # 0.0478, 0.0216, 0.0103, 0.0756, 0.0949


@pytest.mark.parametrize(
    ("counts", "by_hand", "best"),
    [
        ([2, 2, 0, 3, 1, 1], ABOVE_ZERO, 5),
        ([4, 4, 4], BELOW_ZERO, 3),
        ([6, 6, 4, 3, 1, 1], MAGNITUDES, 4),
    ],
)
def test_both_sides_and_their_sum_by_hand(counts, by_hand, best):
    found = divergences(counts, 2, list(by_hand))
    np.testing.assert_allclose(found, list(by_hand.values()), rtol=1e-12, atol=1e-14)
    assert min(by_hand, key=by_hand.get) == best
    assert kl_bins(np.array(counts), 2) == best


@pytest.mark.parametrize(("bins", "levels"), [(20, 2), (40, 8), (60, 7), (60, 16), (300, 128)])
def test_search_is_the_plain_search(bins, levels):
    for shape in range(4):
        mean = 30 * np.exp(-np.arange(bins) / bins * (1 + 2 * shape))
        counts = RNG.poisson(mean)
        counts[bins // 4 : bins // 3] = 0
        counts[-1] = 1
        found = plain_search(counts, levels)
        candidates = np.array(list(found))
        changed = np.concatenate([counts[1:2], counts[1:]])
        np.testing.assert_allclose(
            divergences(changed, levels, candidates), list(found.values()), atol=1e-12
        )
        assert found[kl_bins(counts, levels)] <= min(found.values()) + 1e-12


def test_a_side_no_wider_than_the_levels_is_kept_whole():
    assert kl_bins(np.array([3, 0, 1, 0]), 8) == 3
    assert kl_bins(np.zeros(10), 4) == 0


def test_of_equal_divergences_the_one_that_clips_less_wins():
    # Equal counts everywhere: merging loses nothing, clipping does.
    assert kl_bins(np.full(64, 7), 8) == 64
