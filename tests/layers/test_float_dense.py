"""`FloatDense` and `FloatEmbedding` compute what plain NumPy does, and travel as they are."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import FloatDense, FloatEmbedding
from keras_int8nmt.quantization import QuantParams, quantize

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(6, 5)).astype(np.float32)
BIAS = RNG.normal(size=5).astype(np.float32)
X = RNG.normal(size=(2, 3, 6)).astype(np.float32)
CODES = QuantParams(np.float32(20), 7, "uint8")
FORMULAS = {None: lambda y: y, "relu": lambda y: np.maximum(y, 0), "tanh": np.tanh}


def reloaded(layer):
    config = json.loads(json.dumps(layer.get_config()))
    store: dict = {}
    layer.save_own_variables(store)
    again = type(layer).from_config(config)
    again.load_own_variables(store)
    return again


@pytest.mark.parametrize("activation", FORMULAS)
def test_it_computes_the_formula(activation):
    layer = FloatDense.from_kernel(KERNEL, BIAS, activation)
    result = layer(tf.constant(X))
    np.testing.assert_allclose(result, FORMULAS[activation](X @ KERNEL + BIAS), atol=1e-5)
    np.testing.assert_array_equal(reloaded(layer)(tf.constant(X)), result)


@pytest.mark.parametrize("activation", ["relu", "gelu", "swish", "tanh"])
def test_an_int8_reader_gets_its_codes(activation):
    plain = FloatDense.from_kernel(KERNEL, None, activation)
    layer = FloatDense.from_kernel(KERNEL, None, activation, output_params=CODES)
    result = layer(tf.constant(X)).numpy()
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, quantize(plain(tf.constant(X)).numpy(), CODES))
    np.testing.assert_array_equal(reloaded(layer)(tf.constant(X)), result)
    assert layer.compute_output_spec(keras.KerasTensor((None, 6))).dtype == "uint8"


def test_its_numbers_are_attributes():
    layer = FloatDense.from_kernel(KERNEL, None, "relu")
    np.testing.assert_array_equal(layer.kernel, KERNEL)
    np.testing.assert_array_equal(layer.bias, np.zeros(5))
    assert (layer.precision, layer.output_params) == ("float32", None)
    assert layer.count_params() == 35
    assert [(w.name, w.shape, w.dtype) for w in layer.weights] == [
        ("kernel", (6, 5), "float32"),
        ("bias", (5,), "float32"),
    ]
    assert not layer.variables


def test_codes_and_missing_or_wrong_weights_are_refused():
    layer = FloatDense.from_kernel(KERNEL, BIAS, None)
    with pytest.raises(ValueError, match="reads float32 values; received a tensor of int8"):
        layer(tf.zeros((2, 6), tf.int8))
    with pytest.raises(ValueError, match="has no weights yet"):
        FloatDense(5)(tf.constant(X))
    with pytest.raises(ValueError, match="must be float32; found int8"):
        FloatDense(5).load_own_variables({"kernel": KERNEL.astype(np.int8), "bias": BIAS})
    with pytest.raises(ValueError, match="has 4 units"):
        FloatDense(4).load_own_variables({"kernel": KERNEL, "bias": BIAS})
    with pytest.raises(ValueError, match="bias must have shape"):
        FloatDense.from_kernel(KERNEL, BIAS[:3], None)


def test_an_embedding_is_rows_of_its_table():
    layer = FloatEmbedding.from_table(KERNEL, mask_zero=True)
    ids = np.array([[0, 5, 2]])
    result = layer(tf.constant(ids), multiplier=3.0)
    np.testing.assert_array_equal(result, KERNEL[ids] * np.float32(3))
    np.testing.assert_array_equal(reloaded(layer)(tf.constant(ids), multiplier=3.0), result)
    np.testing.assert_array_equal(layer.compute_mask(ids), [[False, True, True]])
    with pytest.raises(ValueError, match="expects a float32 table"):
        FloatEmbedding(5, 5).load_own_variables({"table": KERNEL})
