"""Thresholds from histograms, some worked by hand."""

import numpy as np
import pytest

from keras_int8nmt.calibration import MODES, CalibrationError, Histogram, find_thresholds
from keras_int8nmt.thresholds import sides
from keras_int8nmt.thresholds.histogram import BINS, HALF

RNG = np.random.default_rng(0)


@pytest.fixture
def two_levels(monkeypatch):
    """Two levels a side, so that a search can be worked by hand."""
    monkeypatch.setattr(sides, "SIDE_LEVELS", 2)
    monkeypatch.setattr(sides, "NON_NEGATIVE_LEVELS", 2)


def worked_histogram(positive, negative, minimum, maximum):
    """Bins one unit wide, with these counts from zero outwards."""
    counts = np.zeros(BINS, np.int64)
    counts[HALF : HALF + len(positive)] = positive
    counts[HALF - len(negative) : HALF] = negative[::-1]
    return Histogram(counts, exponent=12, minimum=minimum, maximum=maximum)


# test_kl_search works the searches out: above zero five bins are kept, below zero three, and of the
# magnitudes four.
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("naive", (-3.0, 5.5)),
        ("symmetric", (-4.0, 4.0)),
        ("independent", (-3.0, 5.0)),
        ("conjugate", (-5.0, 5.0)),
    ],
)
def test_the_modes_of_the_paper_by_hand(two_levels, mode, expected):
    histogram = worked_histogram([2, 2, 0, 3, 1, 1], [4, 4, 4], -3.0, 5.5)
    assert find_thresholds(histogram, mode) == expected


@pytest.mark.parametrize("mode", ["symmetric", "independent", "conjugate"])
def test_one_side_by_hand(two_levels, mode):
    histogram = worked_histogram([2, 2, 0, 3, 1, 1], [], 0.5, 5.5)
    assert find_thresholds(histogram, mode) == (0.0, 5.0)
    assert find_thresholds(histogram, mode, unsigned=False) == (-5.0, 5.0)
    assert find_thresholds(histogram, mode, signed=True) == (-5.0, 5.0)


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


@pytest.mark.parametrize("mode", ["symmetric", "independent", "conjugate", "percentile", "entropy"])
def test_one_outlier_is_clipped(mode):
    x = np.append(RNG.normal(size=100_000), 40.0)
    _, high = find_thresholds(Histogram().add(x), mode)
    assert 2 < high < 10
    assert find_thresholds(Histogram().add(x), "naive")[1] == 40.0


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


@pytest.mark.parametrize("mode", MODES)
def test_without_unsigned_data_without_negative_values_get_the_thresholds_of_int8(mode):
    x = np.maximum(RNG.normal(size=20_000), 0)
    histogram = Histogram().add(x)
    thresholds = find_thresholds(histogram, mode, unsigned=False)
    assert thresholds[0] == -thresholds[1] < 0
    assert thresholds == find_thresholds(histogram, mode, signed=True)
    # Other data are not concerned.
    both = Histogram().add(np.append(x, -x[:99]))
    assert find_thresholds(both, mode, unsigned=False) == find_thresholds(both, mode)


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


@pytest.mark.parametrize("mode", ["percentile:0", "percentile:101", "percentile:", "percentile:x"])
def test_a_percentile_that_is_none_is_named(mode):
    with pytest.raises(ValueError, match=rf"'{mode}'.*at most 100"):
        find_thresholds(Histogram().add(np.ones(1)), mode)


def test_only_the_percentile_takes_a_number():
    with pytest.raises(ValueError, match="'mse:3'"):
        find_thresholds(Histogram().add(np.ones(1)), "mse:3")
