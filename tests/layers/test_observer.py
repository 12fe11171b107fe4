"""`Observer`: counts in the graph what NumPy counts at once."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_int8nmt.calibration import CalibrationError, Histogram, NotCalibratedError, settle
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.quantization import dequantize, quantize

RNG = np.random.default_rng(0)
# Ranges that grow, shrink, touch a power of two, and lie on one side.
BATCHES = [
    RNG.normal(size=(7, 5)).astype(np.float32),
    RNG.normal(size=(3, 5)).astype(np.float32) * 1000,
    np.array([[8.0, -8.0, 0.0, 7.9999995, -7.9999995]], np.float32),
    RNG.uniform(0, 1e-3, size=(4, 5)).astype(np.float32),
]


def built(**kwargs):
    observer = Observer(**kwargs)
    observer.build()
    return observer


def assert_same_histogram(a, b):
    np.testing.assert_array_equal(a.counts, b.counts)
    assert (a.exponent, a.minimum, a.maximum, a.nonfinite) == (
        b.exponent,
        b.minimum,
        b.maximum,
        b.nonfinite,
    )


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_histogram_equals_that_of_all_data_at_once_in_any_order(order):
    observer = built()
    for i in order:
        observer.observe(BATCHES[i])
    everything = np.concatenate([b.ravel() for b in BATCHES])
    histogram = observer.to_histogram()
    expected = np.histogram(everything.astype(np.float64), histogram.edges())[0]
    np.testing.assert_array_equal(histogram.counts, expected)
    assert histogram.exponent == np.frexp(np.abs(everything).max())[1]
    assert_same_histogram(histogram, Histogram().add(everything))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_counts_the_same_in_a_graph(jit_compile):
    import tensorflow as tf

    observer = built()
    observer.set_switch(1)
    step = tf.function(observer.watch, jit_compile=jit_compile)
    for batch in BATCHES:
        np.testing.assert_array_equal(step(batch), batch)
    expected = Histogram().add(np.concatenate([b.ravel() for b in BATCHES]))
    assert_same_histogram(observer.to_histogram(), expected)
    observer.set_switch(0)
    step(BATCHES[0])
    assert_same_histogram(observer.to_histogram(), expected)


@pytest.mark.parametrize("exponent", [-99, -1, 0, 5, 127])
def test_powers_of_two_open_the_next_range(exponent):
    observer = built()
    power = np.ldexp(np.float32(1), exponent)
    observer.observe(np.array([power]))
    assert observer.to_histogram().exponent == exponent + 1
    observer.reset()
    observer.observe(np.array([np.nextafter(power, np.float32(0))]))
    assert observer.to_histogram().exponent == exponent


def test_masked_positions_count_nothing():
    observer = built()
    observer.set_switch(1)
    x = np.array([[[1.0, 2.0], [50.0, np.nan]]], np.float32)
    observer(x, mask=np.array([[True, False]]))
    assert_same_histogram(observer.to_histogram(), Histogram().add(np.array([1.0, 2.0])))


def test_nan_and_infinity_are_counted_apart_and_refused():
    observer = built(name="bad_one")
    observer.observe(np.array([1.0, np.nan, np.inf, -np.inf], np.float32))
    histogram = observer.to_histogram()
    assert (histogram.total, histogram.nonfinite, histogram.maximum) == (1, 3, 1.0)
    with pytest.raises(CalibrationError, match="3 values were NaN or infinite"):
        settle(observer)


def test_empty_batch_and_nothing_seen():
    observer = built()
    observer.observe(np.zeros((0, 4), np.float32))
    assert observer.to_histogram().total == 0
    with pytest.raises(CalibrationError, match="no data"):
        settle(observer)
    with pytest.raises(NotCalibratedError, match="observer"):
        observer.params()


def test_counts_stop_at_the_largest_int32():
    observer = built()
    observer.observe(np.zeros(3, np.float32))
    full = observer.histogram.numpy()
    full[full > 0] = 2**31 - 2
    observer.histogram.assign(full)
    observer.observe(np.zeros(3, np.float32))
    assert observer.to_histogram().counts.max() == 2**31 - 1


@pytest.mark.parametrize(
    ("low", "high", "signed", "dtype"),
    [
        (-2.0, 2.0, False, "int8"),
        (-1.0, 3.0, False, "uint8"),
        (0.0, 3.0, False, "uint8"),
        (0.0, 3.0, True, "int8"),
        (0.0, 0.0, False, "uint8"),
        (0.0, 0.0, True, "int8"),
    ],
)
def test_fake_quantize_is_quantize_then_dequantize_bit_for_bit(low, high, signed, dtype):
    observer = built(signed=signed)
    observer.set_thresholds(low, high)
    observer.set_switch(2)
    params = observer.params()
    assert params.dtype == dtype
    x = RNG.normal(size=1000).astype(np.float32) * 2
    expected = dequantize(quantize(x, params), params)
    np.testing.assert_array_equal(ops.convert_to_numpy(observer(x)), expected)


def test_state_survives_saving(tmp_path):
    model = keras.Sequential([keras.Input((5,)), Observer(signed=True, name="watch")])
    model.layers[-1].observe(BATCHES[1])
    settle(model, "naive")
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras").layers[-1]
    assert again.params() == model.layers[-1].params()
    assert_same_histogram(again.to_histogram(), model.layers[-1].to_histogram())


def test_a_mask_of_too_high_rank_is_named():
    with pytest.raises(ValueError, match="more dimensions"):
        built().observe(np.zeros((2, 3), np.float32), np.ones((2, 3, 1), bool))
