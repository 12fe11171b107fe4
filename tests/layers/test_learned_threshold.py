"""Gradients of thresholds, against finite differences; what training makes of them."""

import keras
import numpy as np
import pytest

from keras_int8nmt import finish_training, prepare_training
from keras_int8nmt.layers.observing.fake_quant import fake_quantize
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.quantization import dequantize, quantize

RNG = np.random.default_rng(0)
# Name: thresholds, signed. The three kinds of codes, and a range without positive values.
KINDS = {
    "int8": ((-1.5, 1.5), False),
    "int8 of Q, K and V": ((-1.0, 1.5), True),
    "uint8 after ReLU": ((0.0, 1.5), False),
    "uint8 with a zero point": ((-0.4, 1.5), False),
    "uint8 without positive values": ((-1.5, 0.0), False),
}


def make_model(kind, width=16, rate=1.0):
    """A model that is one observer, prepared for training."""
    (low, high), signed = KINDS[kind]
    model = keras.Sequential([keras.Input((width,)), Observer(signed=signed, name="observer")])
    observer = model.layers[0]
    observer.set_thresholds(low, high)
    prepare_training(model, threshold_rate=rate)
    return model, observer


def rounded_from(x, low, high, codes, errors, params):
    """What x becomes where its rounding error, in steps, is held as it is: plain float64 loops."""
    lowest, highest = (-127, 127) if params.dtype == "int8" else (0, 255)
    step = (high - low) / (highest - lowest)
    y = np.empty(x.shape)
    for i, (value, code, error) in enumerate(zip(x, codes, errors, strict=True)):
        if code < lowest:
            y[i] = low
        elif code > highest:
            y[i] = high
        else:
            y[i] = value + error * step
    return y


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences_with_the_rounding_error_held(kind):
    import tensorflow as tf

    model, observer = make_model(kind, width=200)
    x = RNG.normal(size=(1, 200)).astype(np.float32) * 1.2
    upstream = RNG.normal(size=(1, 200)).astype(np.float32)
    variable = observer.learned.log2_growth.value
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(model(inputs) * upstream)
    gradient, input_gradient = tape.gradient(loss, [variable, inputs])

    params = observer.params()
    low, high = (float(t) for t in observer.thresholds())
    exact = x[0].astype(np.float64) * float(params.scale)
    errors = np.rint(exact) - exact
    codes = np.rint(exact) + params.zero_point

    def loss_at(growth, moved=0.0):
        if params.dtype == "int8":
            growth = [growth[1], growth[1]]
        ends = low * 2.0 ** growth[0], high * 2.0 ** growth[1]
        return rounded_from(x[0] + moved, *ends, codes, errors, params) @ upstream[0]

    tiny = 1e-6
    expected = [(loss_at(tiny * side) - loss_at(-tiny * side)) / (2 * tiny) for side in np.eye(2)]
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-3)
    assert np.abs(expected).max() > 0.1
    lowest, highest = (-127, 127) if params.dtype == "int8" else (0, 255)
    inside = (codes >= lowest) & (codes <= highest)
    assert 0 < inside.sum() < 200
    np.testing.assert_allclose(input_gradient[0], np.where(inside, upstream[0], 0.0), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("growth", [(0.0, 0.0), (-0.3, 0.7)])
def test_outputs_are_those_of_the_rule_that_the_thresholds_give(kind, growth):
    model, observer = make_model(kind)
    observer.learned.log2_growth.assign(np.array(growth, np.float32))
    x = RNG.normal(size=(64, 16)).astype(np.float32) * 1.2
    low, high = observer.thresholds()
    params = observer.params()
    output = model(x).numpy()
    if growth == (0.0, 0.0):
        np.testing.assert_array_equal(output, fake_quantize(x, observer.quantizer))
    # At a tie of two codes the last bit of the scale decides.
    error = np.abs(output - dequantize(quantize(x, params), params))
    assert (error < 1e-6).mean() > 0.99
    assert error.max() <= params.inv_scale * 1.001
    # The rule of the learned thresholds is one of the same kind, and zero stays zero.
    assert params.dtype == kind.split()[0]
    assert low <= 0 <= high
    assert model(np.zeros((1, 16), np.float32)).numpy().max() == 0.0


@pytest.mark.parametrize(
    ("kind", "factor"),
    [
        ("int8", 0.25),
        ("int8 of Q, K and V", 4.0),
        ("uint8 after ReLU", 4.0),
        ("uint8 with a zero point", 0.25),
        ("uint8 with a zero point", 4.0),
        ("uint8 without positive values", 0.25),
    ],
)
def test_training_finds_the_thresholds_of_least_error_from_both_sides(kind, factor):
    x = np.random.default_rng(1).normal(size=(512, 16)).astype(np.float32)
    (low, high), signed = KINDS[kind]
    # The data that such thresholds are for.
    x = np.clip(x, -np.inf if low else 0.0, np.inf if high else 0.0)
    model, observer = make_model(kind, rate=2.0)

    def error(low, high):
        probe = Observer(signed=signed)
        probe.build()
        probe.set_thresholds(low, high)
        params = probe.params()
        return float(np.mean((dequantize(quantize(x, params), params) - x) ** 2))

    tails = np.array([x.min(), x.max()])
    if observer.params().dtype == "int8":
        tails = np.array([-np.abs(x).max(), np.abs(x).max()])
    observer.set_thresholds(*(tails * factor))
    grid = np.linspace(0.5, 1.1, 61)
    best = min(error(*(tails * part)) for part in grid)
    before = error(*observer.thresholds())
    # Adam must soon forget how large the gradients of clipped values were.
    rates = keras.optimizers.schedules.CosineDecay(0.05, 640)
    # Epochs and calls of the graph take longer than their few steps, so there are 20 and not 80.
    model.compile(
        keras.optimizers.Adam(rates, beta_2=0.95), "mse", jit_compile=False, steps_per_execution=8
    )
    data = np.concatenate([x] * 4)
    losses = model.fit(data, data, batch_size=64, epochs=20, verbose=0).history["loss"]
    learned = finish_training(model)[observer.path]
    assert losses[-1] < 0.5 * losses[0]
    assert error(*learned) < min(1.1 * best, 0.5 * before)
    sides = [abs(end / tail) for end, tail in zip(learned, tails, strict=True) if tail]
    assert all(side > factor if factor < 1 else side < factor for side in sides)


def test_a_frozen_model_and_one_that_is_finished_train_no_threshold():
    model, observer = make_model("int8")
    names = [w.name for w in model.trainable_weights]
    assert names == ["log2_growth"]
    model.trainable = False
    assert model.trainable_weights == []
    model.trainable = True
    assert [w.name for w in model.trainable_weights] == names
    finish_training(model)
    model.trainable = True
    assert model.trainable_weights == []
    assert observer.thresholds() == (-1.5, 1.5)


def test_a_zero_point_stays_where_the_sides_become_equal():
    _, observer = make_model("uint8 with a zero point")
    observer.set_thresholds(-1.0, 2.0)
    observer.learned.log2_growth.assign(np.array([1.0, 0.0], np.float32))
    low, high = observer.thresholds()
    assert low == -2.0
    assert 2.0 < high < 2.000001
    assert observer.params().dtype == "uint8"


def test_thresholds_that_are_set_anew_begin_there():
    model, observer = make_model("int8")
    observer.learned.log2_growth.assign(np.array([0.0, 1.0], np.float32))
    assert observer.thresholds() == (-3.0, 3.0)
    prepare_training(model)
    assert observer.thresholds() == (-3.0, 3.0)
    observer.set_thresholds(-2.0, 2.0)
    assert observer.thresholds() == (-2.0, 2.0)
    observer.clear_thresholds()
    assert not observer.is_calibrated
    assert not observer.learned.active
