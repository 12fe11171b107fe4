"""mse, percentile and entropy: worked by hand, and against plain loops."""

import numpy as np
import pytest
from helpers.plain_kl import plain_search

from keras_int8nmt.calibration import Histogram, find_thresholds, parse_mode
from keras_int8nmt.quantization import dequantize, params_from_thresholds, quantize
from keras_int8nmt.thresholds.entropy import best_candidate, entropy_bins
from keras_int8nmt.thresholds.mse import mse_bins, squared_error
from keras_int8nmt.thresholds.percentile import percentile_bins

RNG = np.random.default_rng(0)


# ---- mse ----


def test_squared_error_by_hand():
    # One level above zero. In the second bin 6 values from 1 to 2, in the fourth one from 3 to 4.
    counts = np.array([0, 6, 0, 1])
    # T = 1: both are off by x - 1: 6 * (1^3 - 0)/3 + (3^3 - 2^3)/3.
    assert squared_error(counts, 1, 1) == pytest.approx(6 / 3 + 19 / 3)
    # T = 2: from 1 to 2 the nearest code is 2: 6 * 1/3; above, x - 2: (2^3 - 1^3)/3.
    assert squared_error(counts, 2, 1) == pytest.approx(6 / 3 + 7 / 3)
    # T = 3: up to 1.5 the code is 0, (1.5^3 - 1)/3; then 3, (1.5^3 - 1)/3; above, 1/3.
    assert squared_error(counts, 3, 1) == pytest.approx(6 * 2 * (1.5**3 - 1) / 3 + 1 / 3)
    # T = 4: up to 2 the code is 0: 6 * (2^3 - 1)/3; the last bin is rounded up to 4: 1/3.
    assert squared_error(counts, 4, 1) == pytest.approx(6 * 7 / 3 + 1 / 3)
    # 8.33, 4.33, 9.83, 14.33
    assert mse_bins(counts, 2) == 2
    # Values at zero change nothing.
    assert mse_bins(np.array([900, 6, 0, 1]), 2) == 2


@pytest.mark.parametrize("unsigned", [True, False])
def test_squared_error_is_that_of_the_codes(unsigned):
    x = np.abs(RNG.normal(size=200_000)).astype(np.float32)
    params = params_from_thresholds(0.0 if unsigned else -2.5, 2.5, symmetric=not unsigned)
    error = (dequantize(quantize(x, params), params) - x).astype(np.float64)
    histogram = Histogram().add(x)
    kept = round(2.5 / histogram.width)
    highest = 255 if unsigned else 127
    counts = histogram.counts[4096:]
    expected = squared_error(counts, kept, highest) * histogram.width**2
    assert np.sum(error**2) == pytest.approx(expected, rel=0.02)


def plain_error(x, threshold, unsigned):
    params = params_from_thresholds(
        0.0 if unsigned else -threshold, threshold, symmetric=not unsigned
    )
    return np.mean((dequantize(quantize(x, params), params) - x).astype(np.float64) ** 2)


@pytest.mark.parametrize("kind", ["normal", "long tail", "one side", "outlier"])
def test_mse_has_the_smallest_error_of_all_thresholds(kind):
    x = {
        "normal": RNG.normal(size=20_000),
        "long tail": RNG.standard_t(3, size=20_000),
        "one side": np.maximum(RNG.normal(size=20_000), 0),
        "outlier": np.append(RNG.normal(size=20_000), 300.0),
    }[kind].astype(np.float32)
    unsigned = kind == "one side"
    low, high = find_thresholds(Histogram().add(x), "mse")
    assert low == (0.0 if unsigned else -high)
    largest = float(np.abs(x).max())
    every = [plain_error(x, t, unsigned) for t in largest * np.arange(1, 301) / 300]
    assert plain_error(x, high, unsigned) <= min(every) * 1.02
    if kind in ("normal", "long tail"):
        assert high < largest


def test_the_two_rounds_of_mse_find_the_best_of_all_edges():
    for scale in (20, 150):
        counts = np.bincount(
            np.minimum(np.abs(RNG.standard_t(4, size=5000)) * scale, 4095).astype(int)
        )
        errors = [
            squared_error(np.append(0, counts[1:]), k, 127) for k in range(1, len(counts) + 1)
        ]
        assert errors[mse_bins(counts, 128) - 1] <= min(errors) * (1 + 1e-4)


def test_mse_of_nothing_and_of_zeros():
    assert mse_bins(np.zeros(9), 128) == 0
    assert mse_bins(np.array([7, 0, 0]), 128) == 1


# ---- percentile ----


def test_percentile_by_hand():
    counts = np.array([500, 300, 150, 49, 0, 1])
    assert percentile_bins(counts, parse_mode("percentile:50").share) == 1
    assert percentile_bins(counts, parse_mode("percentile:50.01").share) == 2
    assert percentile_bins(counts, parse_mode("percentile:95").share) == 3
    # 999 of 1,000, exactly: the last one is not needed.
    assert percentile_bins(counts, parse_mode("percentile:99.9").share) == 4
    assert percentile_bins(counts, parse_mode("percentile:99.99").share) == 6
    assert percentile_bins(counts, parse_mode("percentile:0.01").share) == 1


@pytest.mark.parametrize(("mode", "kept"), [("percentile", 49_995), ("percentile:97.5", 48_750)])
def test_percentile_is_that_of_the_magnitudes(mode, kept):
    x = RNG.normal(size=50_000).astype(np.float32)
    histogram = Histogram().add(x)
    low, high = find_thresholds(histogram, mode)
    assert low == -high
    exact = np.sort(np.abs(x))[kept - 1]
    assert exact <= high <= exact + histogram.width
    assert find_thresholds(Histogram().add(np.abs(x)), mode) == (0.0, high)


def test_all_of_the_values_are_the_larger_side_of_naive():
    x = RNG.normal(size=5_000)
    low, high = find_thresholds(Histogram().add(x), "naive")
    assert find_thresholds(Histogram().add(x), "percentile:100")[1] == max(-low, high)


# ---- entropy ----


def test_entropy_by_hand():
    # The divergences are those of test_kl_search.test_search_by_hand: 0.0189 for six bins, 0.0363,
    # 0.0174 for four, 0.1036; the count at zero is that of the bin beside it.
    assert best_candidate(np.array([70, 2, 2, 2, 0, 1, 0]), 2) == 4
    assert best_candidate(np.array([3, 0, 1]), 8) == 3
    assert best_candidate(np.zeros(5), 2) == 0


@pytest.mark.parametrize(("bins", "levels"), [(20, 2), (60, 7), (200, 128)])
def test_entropy_is_the_plain_search_in_which_an_empty_last_level_is_never_clipped_into(
    bins, levels
):
    for scale in (0.3, 2.0, 10.0):
        counts = RNG.poisson(scale * np.exp(-np.arange(bins) / bins * 5))
        counts[1], counts[-1] = 3, 1
        found = plain_search(counts, levels, empty=0.0)
        assert found[best_candidate(counts, levels)] <= min(found.values()) + 1e-12


def test_entropy_stands_half_a_bin_behind_the_last_one_that_is_kept():
    # Two of our bins are one of the 2048. Counts are equal, so all are kept, and half a bin more.
    counts = np.zeros(4096, np.int64)
    counts[:3000] = 5
    assert entropy_bins(counts, 128) == (1500 + 0.5) * 2
    # More than was seen is never asked for.
    x = np.linspace(-1.45, 1.45, 9999)
    assert 1.2 < find_thresholds(Histogram().add(x), "entropy")[1] <= np.float32(1.45)


def test_entropy_does_not_clip_data_with_nothing_near_zero_to_their_first_bin():
    x = RNG.uniform(0.5, 0.9, size=20_000)
    low, high = find_thresholds(Histogram().add(x), "entropy")
    assert low == 0.0
    assert high > 0.65
