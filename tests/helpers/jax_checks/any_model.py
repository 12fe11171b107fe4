"""quantize_model on JAX, without INT8 layers; run in a process of its own (KERAS_BACKEND=jax)."""

from __future__ import annotations

import sys

import keras
import numpy as np
from keras import layers

from keras_int8nmt import CalibrationCallback, QuantAttention, QuantDense, quantize_model
from keras_int8nmt.layers.model_state import observers, simulate


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        self.attention = layers.MultiHeadAttention(2, 4)
        self.parts = [{"dense": layers.Dense(8, activation="relu")}, layers.Dropout(0.1)]

    def call(self, x):
        return self.parts[1](self.parts[0]["dense"](x + self.attention(x, x)))


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.block, self.out = Block(), layers.Dense(3)

    def call(self, x):
        return self.out(self.block(x))


x = np.random.default_rng(0).normal(size=(16, 5, 8)).astype("float32")
inputs = keras.Input((5, 8))
for model in (Own(), keras.Model(inputs, layers.Dense(3)(Block()(inputs)))):
    model.compile("sgd", "mse")
    model.fit(x, np.ones((16, 5, 3)), verbose=0)
    before = model.predict(x, verbose=0)
    quant = quantize_model(model)
    found = quant.predict(x, verbose=0, callbacks=[CalibrationCallback("naive")])
    np.testing.assert_allclose(found, before, atol=1e-5)
    kinds = {type(layer) for layer in quant._flatten_layers()}
    assert {QuantDense, QuantAttention} <= kinds
    assert not {layers.Dense, layers.MultiHeadAttention} & kinds
    assert all(o.is_calibrated or o.optional for _, o in observers(quant))
    simulate(quant)
    simulated = quant.predict(x, verbose=0)
    assert 0 < np.abs(simulated - before).max() < 0.1 * np.abs(before).max()
    # Training of the one, whose buffers JAX gives away, leaves the other as it is.
    quant.compile("sgd", "mse")
    quant.fit(x, np.ones((16, 5, 3)), verbose=0)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)

# Keras itself imports TensorFlow where it is installed, to write a dtype policy into a config.
assert "keras_int8nmt.layers.inference.frozen_layer" not in sys.modules
print("jax ok")
