"""Thresholds from histograms, some worked by hand."""

import math
import time

import numpy as np
import pytest

from keras_int8nmt.calibration import (
    MODES,
    CalibrationError,
    Histogram,
    classify,
    clipped_mass,
    find_thresholds,
    sqnr_db,
)
from keras_int8nmt.calibration.threshold import _divergences, kl_bins

RNG = np.random.default_rng(0)


def divergences(counts, levels, candidates):
    return _divergences(np.array(counts), levels, np.array(candidates))


def test_divergence_by_hand_without_clipping():
    # P = (1, 3, 2, 2)/8; two levels: groups (1+3), (2+2), spread out: Q = (2, 2, 2, 2)/8.
    expected = 1 / 8 * math.log(1 / 2) + 3 / 8 * math.log(3 / 2)
    assert divergences([1, 3, 2, 2], 2, [4])[0] == pytest.approx(expected)


def test_divergence_by_hand_with_clipping_and_an_empty_bin():
    # After 4 bins: P = (4, 0, 1, 1 + 2)/8. Groups (4+0), (1+1); the empty bin gets nothing:
    # Q = (4, 0, 1, 1)/6.
    expected = (
        4 / 8 * math.log((4 / 8) / (4 / 6))
        + 1 / 8 * math.log((1 / 8) / (1 / 6))
        + 3 / 8 * math.log((3 / 8) / (1 / 6))
    )
    assert divergences([4, 0, 1, 1, 0, 2], 2, [4])[0] == pytest.approx(expected)


def test_divergence_by_hand_when_the_last_group_is_empty():
    # After 2 bins: P = (4, 0 + 1)/5, Q = (4, 1e-4)/(4 + 1e-4).
    q = np.array([4, 1e-4]) / (4 + 1e-4)
    expected = 4 / 5 * math.log(4 / 5 / q[0]) + 1 / 5 * math.log(1 / 5 / q[1])
    assert divergences([4, 0, 1], 2, [2])[0] == pytest.approx(expected)


def test_divergence_equals_the_plain_formula():
    def plain(counts, levels, i):
        p = counts[:i].astype(np.float64)
        clipped = counts[i:].sum()
        groups = np.arange(i) * levels // i
        q = np.zeros(i)
        p_full = p.copy()
        p_full[-1] += clipped
        for g in range(levels):
            member = (groups == g) & (p_full > 0)
            if member.any():
                q[member] = max(p[groups == g].sum(), 1e-4 if g == levels - 1 else 0) / member.sum()
        p_full, q = p_full / p_full.sum(), q / q.sum()
        on = p_full > 0
        return float(np.sum(p_full[on] * np.log(p_full[on] / q[on])))

    counts = RNG.poisson(np.linspace(20, 0.05, 60))
    counts[10:14] = 0
    candidates = np.arange(8, 61)
    found = divergences(counts, 8, candidates)
    for i, value in zip(candidates, found, strict=True):
        if math.isfinite(value):
            assert value == pytest.approx(plain(counts, 8, i), abs=1e-9)
    assert np.isfinite(found).sum() > 40


def test_a_side_no_wider_than_the_levels_is_kept_whole():
    assert kl_bins(np.array([3, 0, 1, 0]), 8) == 3
    assert kl_bins(np.zeros(10), 4) == 0


def test_of_equal_divergences_the_one_that_clips_less_wins():
    # Equal counts everywhere: merging loses nothing, clipping does.
    assert kl_bins(np.full(64, 7), 8) == 64


@pytest.mark.parametrize("mode", MODES)
def test_nothing_seen_and_bad_values_are_refused(mode):
    with pytest.raises(CalibrationError, match="no data"):
        find_thresholds(Histogram(), mode)
    with pytest.raises(CalibrationError, match="2 values were NaN or infinite"):
        find_thresholds(Histogram().add(np.array([1.0, np.nan, np.inf])), mode)


@pytest.mark.parametrize("mode", MODES)
def test_all_zero(mode):
    assert find_thresholds(Histogram().add(np.zeros(10)), mode) == (0.0, 0.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", [3.25, -0.001, 1e30])
def test_one_spike_is_not_clipped(mode, value):
    low, high = find_thresholds(Histogram().add(np.full(1000, value)), mode)
    value = float(np.float32(value))
    assert low <= value <= high
    assert max(-low, high) == abs(value)


@pytest.mark.parametrize("mode", ["symmetric", "independent", "conjugate"])
def test_one_outlier_is_clipped(mode):
    x = np.append(RNG.normal(size=100_000), 40.0)
    _, high = find_thresholds(Histogram().add(x), mode)
    assert 2 < high < 10
    assert find_thresholds(Histogram().add(x), "naive")[1] == 40.0


def test_modes_as_the_paper_defines_them():
    # A long positive tail, a short negative side.
    x = np.concatenate([RNG.normal(size=50_000), RNG.exponential(3.0, size=50_000)])
    histogram = Histogram().add(x)
    naive = find_thresholds(histogram, "naive")
    assert naive == (float(np.float32(x.min())), float(np.float32(x.max())))
    symmetric = find_thresholds(histogram, "symmetric")
    independent = find_thresholds(histogram, "independent")
    conjugate = find_thresholds(histogram, "conjugate")
    assert symmetric[0] == -symmetric[1]
    assert -independent[0] < independent[1]
    assert conjugate == (
        -max(-independent[0], independent[1]),
        max(-independent[0], independent[1]),
    )


def test_sides_are_independent():
    x = np.abs(RNG.normal(size=50_000)) + 1e-6
    y = RNG.exponential(2.0, size=50_000) + 1e-6
    both = find_thresholds(Histogram().add(np.concatenate([-x, y])), "independent")
    other = find_thresholds(Histogram().add(np.concatenate([x * 0 - 15, y])), "independent")
    assert both[1] == other[1]


@pytest.mark.parametrize("mode", MODES)
def test_data_without_negative_values_has_threshold_zero_below(mode):
    relu = np.maximum(RNG.normal(size=100_000), 0)
    low, high = find_thresholds(Histogram().add(relu), mode)
    assert low == 0.0
    # Half of the values are exact zeros; they have a code of their own and must not pull T down.
    assert high > 2.5


@pytest.mark.parametrize("mode", MODES)
def test_signed_is_symmetric_whatever_the_mode(mode):
    low, high = find_thresholds(Histogram().add(RNG.uniform(0, 1, 1000)), mode, signed=True)
    assert low == -high < 0


def test_range_that_grows_in_batch_two_gives_what_all_data_give():
    x, y = RNG.normal(size=10_000), RNG.normal(size=10_000) * 20
    grown = Histogram().add(x).add(y)
    assert find_thresholds(grown) == find_thresholds(Histogram().add(np.concatenate([x, y])))


def test_scaling_by_a_power_of_two_scales_the_thresholds():
    x = RNG.normal(size=10_000).astype(np.float32)
    low, high = find_thresholds(Histogram().add(x), "independent")
    assert find_thresholds(Histogram().add(x * 8), "independent") == (low * 8, high * 8)


def test_unknown_mode_is_named():
    with pytest.raises(ValueError, match=r"'best'.*symmetric"):
        find_thresholds(Histogram().add(np.ones(1)), "best")


def test_kinds_of_distributions():
    gaussian = RNG.normal(size=10_000)
    assert classify(Histogram().add(gaussian)) == "gaussian"
    assert classify(Histogram().add(np.append(gaussian, 100.0))) == "narrow"
    assert classify(Histogram().add(np.maximum(gaussian, 0))) == "sparse"


def test_clipped_mass():
    histogram = Histogram().add(np.array([-4.0, -1.0, 0.0, 1.0, 1.0, 9.0, 9.0, 9.0]))
    assert clipped_mass(histogram, -1.5, 1.5) == 0.5
    assert clipped_mass(histogram, -4.0, 9.0) == 0.0


def test_sqnr_is_that_of_the_values():
    from keras_int8nmt.quantization import dequantize, params_from_thresholds, quantize

    x = RNG.normal(size=200_000).astype(np.float32)
    params = params_from_thresholds(-3.0, 3.0, symmetric=True)
    error = dequantize(quantize(x, params), params) - x
    expected = 10 * np.log10(np.sum(x.astype(np.float64) ** 2) / np.sum(error**2))
    assert sqnr_db(Histogram().add(x), params) == pytest.approx(expected, abs=0.2)


def test_sixty_searches_are_quick():
    histogram = Histogram().add(RNG.standard_t(3, size=100_000))
    start = time.perf_counter()
    find_thresholds(histogram, "independent")
    assert time.perf_counter() - start < 1.0
