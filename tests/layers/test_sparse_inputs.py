"""Sparse and ragged inputs, as far as the Keras parents take them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_int8nmt import Int8Gather, QuantDense
from keras_int8nmt.layers.model_state import observers, set_state, settle

tf = pytest.importorskip("tensorflow", reason="sparse and ragged tensors here are TensorFlow's")

X = np.maximum(np.random.default_rng(1).normal(size=(8, 16)).astype(np.float32) - 1, 0)


def test_a_dense_layer_trains_and_predicts_on_sparse_inputs():
    sparse = tf.sparse.from_dense(X)
    x = keras.Input((16,), sparse=True)
    model = keras.Model(x, QuantDense(4)(x))
    model.compile("sgd", "mse")
    expected = model(X)
    np.testing.assert_allclose(model(sparse), expected, atol=1e-6)
    data = tf.data.Dataset.from_tensors(sparse)
    np.testing.assert_allclose(model.predict(data, verbose=0), expected, atol=1e-6)
    model.train_on_batch(sparse, np.ones((8, 4), np.float32))
    assert not np.allclose(model(X), expected)


def test_zeros_of_a_sparse_input_are_counted():
    layer = QuantDense(4)
    layer(X)
    set_state(layer, "observing")
    layer(tf.sparse.from_dense(X))
    set_state(layer, "float")
    ((_, observer),) = observers(layer)
    assert observer.to_histogram().total == X.size
    settle(layer)


def test_an_embedding_takes_ragged_ids():
    ids = tf.ragged.constant([[1, 2], [3, 4, 5]], dtype=tf.int32)
    layer = Int8Gather(50, 8)
    expected = layer(ids.flat_values)
    found = tf.function(layer)(ids)
    np.testing.assert_array_equal(found.flat_values, expected)
    assert found.row_lengths().numpy().tolist() == [2, 3]
    x = keras.Input((None,), ragged=True, dtype="int32")
    predicted = keras.Model(x, layer(x)).predict(tf.data.Dataset.from_tensors(ids), verbose=0)
    np.testing.assert_array_equal(predicted.flat_values, expected)
    layer.set_switch(2)
    rounded = layer(ids)
    np.testing.assert_array_equal(rounded.flat_values, layer(ids.flat_values))
    assert not np.array_equal(rounded.flat_values, expected)
