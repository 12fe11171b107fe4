"""Kinds of distributions, and figures of what thresholds do."""

import numpy as np
import pytest

from keras_int8nmt.calibration import (
    CalibrationError,
    Histogram,
    classify,
    clipped_mass,
    sqnr_db,
)

RNG = np.random.default_rng(0)


def test_kinds_of_distributions():
    gaussian = RNG.normal(size=10_000)
    assert classify(Histogram().add(gaussian)) == "gaussian"
    assert classify(Histogram().add(np.append(gaussian, 100.0))) == "narrow"
    assert classify(Histogram().add(np.maximum(gaussian, 0))) == "sparse"
    with pytest.raises(CalibrationError, match="without data"):
        classify(Histogram())


@pytest.mark.parametrize(("zeros", "kind"), [(50, "sparse"), (49, "gaussian")])
def test_sparse_begins_at_half_of_the_values_beside_zero(zeros, kind):
    # The largest is 1, so a bin is 2/4096 wide. Half of the zeros are so but for a small part.
    near = np.where(np.arange(zeros) % 2, 1e-4, -1e-4)
    assert classify(Histogram().add(np.append(near, np.ones(100 - zeros)))) == kind


@pytest.mark.parametrize(("far", "kind"), [(1, "narrow"), (2, "gaussian")])
def test_narrow_begins_at_99_per_cent_within_an_eighth(far, kind):
    # An eighth of 8 is 1: its own bin, from 1 to 1 + 16/4096, counts.
    x = np.concatenate([np.full(100 - far, 1.003), np.full(far - 1, 1.004), [-8.0]])
    assert classify(Histogram().add(x)) == kind
    assert classify(Histogram().add(-x)) == kind


def test_sparse_is_asked_for_before_narrow():
    assert classify(Histogram().add(np.append(np.zeros(999), 1.0))) == "sparse"


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
