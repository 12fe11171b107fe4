"""`Histogram`: widening and merging are exact."""

import numpy as np
import pytest

from keras_int8nmt.thresholds.histogram import BINS, MIN_EXPONENT, Histogram, exponent_of

RNG = np.random.default_rng(0)


def test_equals_numpy_over_its_own_edges():
    x = RNG.normal(size=10_000).astype(np.float32) * 3
    histogram = Histogram().add(x)
    np.testing.assert_array_equal(histogram.counts, np.histogram(x, histogram.edges())[0])
    assert histogram.total == 10_000
    assert histogram.minimum == x.min()
    assert histogram.maximum == x.max()


def test_order_of_batches_does_not_matter():
    batches = [RNG.normal(size=100) * 10.0**k for k in range(-3, 4)]
    forwards, backwards = Histogram(), Histogram()
    for batch in batches:
        forwards = forwards.add(batch)
    for batch in reversed(batches):
        backwards = backwards.add(batch)
    at_once = Histogram().add(np.concatenate(batches))
    for other in (forwards, backwards):
        np.testing.assert_array_equal(other.counts, at_once.counts)
        assert other.exponent == at_once.exponent


def test_widening_merges_neighbours():
    counts = np.arange(BINS)
    wide = Histogram(counts, exponent=3).widen(4)
    assert wide.exponent == 4
    np.testing.assert_array_equal(wide.counts[2048:6144], counts.reshape(-1, 2).sum(axis=1))
    assert wide.counts[:2048].sum() == wide.counts[6144:].sum() == 0
    assert Histogram(counts, exponent=3).widen(60).counts[4095:4097].tolist() == [
        counts[:4096].sum(),
        counts[4096:].sum(),
    ]


def test_cannot_be_narrowed():
    with pytest.raises(ValueError, match="widened"):
        Histogram(exponent=3).widen(2)


@pytest.mark.parametrize(
    ("largest", "exponent"), [(0.0, MIN_EXPONENT), (1.0, 1), (0.99, 0), (4.0, 3), (3e38, 128)]
)
def test_exponent(largest, exponent):
    assert exponent_of(largest) == exponent


def test_nan_and_infinity_are_counted_apart():
    histogram = Histogram().add(np.array([np.nan, np.inf, 2.0]))
    assert (histogram.total, histogram.nonfinite, histogram.maximum) == (1, 2, 2.0)
