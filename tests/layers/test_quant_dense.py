"""`QuantDense` against `keras.layers.Dense`, and its states."""

import keras
import numpy as np
import pytest
from helpers.layer_contract import assert_same_signature, check_layer, copy_weights

from keras_int8nmt.calibration import settle
from keras_int8nmt.layers.quant_dense import QuantDense
from keras_int8nmt.quantization import dequantize, quantize, quantize_weights

X = np.random.default_rng(0).normal(size=(4, 3, 8)).astype(np.float32)


def test_passes_the_layer_contract(tmp_path):
    init = {"units": 5, "activation": "relu", "bias_initializer": "ones"}
    check_layer(QuantDense, init, lambda layer: layer(X), [X], (4, 3, 5), tmp_path)


def test_has_the_signature_of_dense():
    assert_same_signature(QuantDense.__init__, keras.layers.Dense.__init__)
    assert_same_signature(QuantDense.call, keras.layers.Dense.call)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "gelu"},
        {"use_bias": False},
        {"lora_rank": 2},
        {"kernel_regularizer": "l2", "activity_regularizer": "l2"},
    ],
)
def test_gives_what_dense_gives_until_told_otherwise(options):
    ours, parent = QuantDense(5, **options), keras.layers.Dense(5, **options)
    ours(X), parent(X)
    copy_weights(parent, ours)
    if "lora_rank" in options:
        ours._kernel.assign(parent._kernel)
    np.testing.assert_array_equal(ours(X), parent(X))
    assert len(ours.losses) == len(parent.losses)


def test_passes_a_keras_mask_on_and_does_not_observe_masked_positions():
    layer = QuantDense(5)
    embedding = keras.layers.Embedding(10, 8, mask_zero=True)
    ids = np.array([[3, 4, 0, 0], [5, 0, 0, 0]])
    layer(embedding(ids))
    layer.input_observer.set_switch(1)
    assert layer(embedding(ids))._keras_mask.numpy().tolist() == (ids != 0).tolist()
    assert layer.input_observer.to_histogram().total == 3 * 8


def test_simulates_int8_arithmetic():
    layer = QuantDense(5, bias_initializer="ones")
    layer(X)
    layer.input_observer.set_thresholds(-1.5, 2.0)
    layer.input_observer.set_switch(2)
    params = layer.input_observer.params()
    assert params.dtype == "uint8"
    codes, scale = quantize_weights(layer.kernel.numpy())
    expected = dequantize(quantize(X, params), params) @ (codes / scale) + 1.0
    np.testing.assert_allclose(layer(X), expected, rtol=1e-5, atol=1e-6)


def test_gradients_pass_straight_through_where_nothing_was_clipped():
    import tensorflow as tf

    layer = QuantDense(5)
    layer(X)
    layer.input_observer.set_thresholds(-1.0, 1.0)
    layer.input_observer.set_switch(2)
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(layer(x))
    gradient = tape.gradient(y, x).numpy()
    inside = np.abs(X) < 1.0
    codes, scale = quantize_weights(layer.kernel.numpy())
    expected = np.broadcast_to((codes / scale).sum(axis=1), X.shape)
    np.testing.assert_allclose(gradient[inside], expected[inside], rtol=1e-4, atol=1e-5)
    assert not gradient[np.abs(X) > 1.0].any()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_trains_while_simulating(jit_compile):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(256, 8)).astype(np.float32)
    y = x @ rng.normal(size=(8, 3)).astype(np.float32)
    model = keras.Sequential([keras.Input((8,)), QuantDense(3)])
    layer = model.layers[-1]
    layer.input_observer.observe(x)
    settle(layer, "symmetric")
    layer.input_observer.set_switch(2)
    model.compile(keras.optimizers.Adam(0.05), "mse", jit_compile=jit_compile)
    losses = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.02 * losses[0]


def test_names_keras_own_quantization_as_unsupported():
    layer = QuantDense(5)
    layer(X)
    assert layer.unsupported_reasons() == []
    layer.quantize("int8", type_check=False)
    assert "int8" in layer.unsupported_reasons()[0]


def test_takes_keras_own_quantization_as_its_parent_does():
    ours, parent = (
        layer(4, dtype="int8_from_float32") for layer in (QuantDense, keras.layers.Dense)
    )
    ours(X), parent(X)
    assert [w.shape for w in ours.weights] == [w.shape for w in parent.weights]
    for new, old in zip(ours.weights, parent.weights, strict=True):
        new.assign(old)
    np.testing.assert_allclose(ours(X), parent(X), atol=1e-6)
