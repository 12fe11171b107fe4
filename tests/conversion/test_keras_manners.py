"""What Keras users do with models: LoRA, `quantize`, sparse inputs, `RematScope`, empty batches."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import (
    CalibrationCallback,
    Int8Gather,
    QuantAttention,
    QuantDense,
    convert,
    simulate,
)
from keras_int8nmt.layers.model_state import set_state, settle

RNG = np.random.default_rng(2)
X = RNG.normal(size=(8, 6, 16)).astype(np.float32)
FLAT = np.maximum(RNG.normal(size=(8, 16)).astype(np.float32) - 1, 0)


def calibrated(model, x):
    set_state(model, "observing")
    model(x)
    settle(model, "naive")
    set_state(model, "float")
    return model


def relative(found, expected):
    return np.sqrt(np.mean((found - expected) ** 2) / np.mean(np.square(expected)))


def attending():
    x = keras.Input((6, 16))
    return keras.Model(x, QuantDense(4, name="last")(QuantAttention(2, 8, name="own")(x, x)))


@pytest.mark.parametrize("activations", ["static", "dynamic"])
def test_weights_with_their_lora_updates_become_int8(activations):
    model = attending()
    attention, dense = model.layers[1:]
    before = model.predict(X, verbose=0)
    for layer in (dense, attention.query_dense, attention.output_dense):
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(RNG.normal(size=layer.lora_kernel_b.shape) * 0.3)
    exact = np.asarray(calibrated(model, X)(X))
    assert relative(before, exact) > 0.2
    int8 = convert(model, activations=activations)
    assert int8.conversion_report.precision in ("int8", "mixed")
    assert relative(np.asarray(int8(X)), exact) < 0.05


def test_what_keras_quantized_stays_as_it_is_and_is_told():
    model = attending()
    # What `model.quantize` does there: it refuses subclasses of Keras' Dense.
    model.layers[1].query_dense.quantize("int8")
    int8 = convert(model, activations="dynamic")
    rows = {row.name: row.reason for row in int8.conversion_report.rows}
    assert "last" in rows
    assert any("Keras' own quantization is on" in reason for reason in rows.values())
    assert relative(np.asarray(int8(X)), np.asarray(model(X))) < 0.05


def test_one_dense_that_keras_quantized_stays_as_it_is():
    x = keras.Input((16,))
    model = keras.Model(x, QuantDense(4)(keras.layers.Dense(16, name="theirs")(x)))
    model.layers[1].quantize("int8")
    int8 = convert(calibrated(model, FLAT))
    assert relative(np.asarray(int8(FLAT)), np.asarray(model(FLAT))) < 0.05


@pytest.mark.parametrize(
    "options", [{}, {"activations": "dynamic"}, {"policy": "float32"}], ids=str
)
def test_sparse_inputs_are_dense_ones_with_zeros(options):
    x = keras.Input((16,), sparse=True)
    model = calibrated(keras.Model(x, QuantDense(4)(x)), tf.sparse.from_dense(FLAT))
    int8 = convert(model, **options)
    sparse = tf.sparse.from_dense(FLAT)
    expected = int8(FLAT)
    np.testing.assert_array_equal(int8(sparse), expected)
    predicted = int8.predict(tf.data.Dataset.from_tensors(sparse), verbose=0)
    np.testing.assert_array_equal(predicted, expected)
    assert relative(np.asarray(expected), np.asarray(model(sparse))) < 0.05


@pytest.mark.parametrize("options", [{}, {"policy": "float32"}], ids=str)
def test_ragged_and_sparse_ids_are_looked_up(options):
    x = keras.Input((None,), ragged=True, dtype="int32")
    float_model = keras.Model(x, QuantDense(3)(keras.layers.Identity()(Int8Gather(9, 8)(x))))
    table = float_model.layers[1]
    dense = keras.Sequential([keras.Input((None,), dtype="int32"), table, float_model.layers[-1]])
    int8 = convert(calibrated(dense, np.arange(9)[None]), **options)
    ids = tf.ragged.constant([[1, 2], [3, 4, 5]], dtype=tf.int32)
    found = tf.function(int8.layers[0])(ids)
    np.testing.assert_array_equal(found.flat_values, int8.layers[0](ids.flat_values))
    assert found.row_lengths().numpy().tolist() == [2, 3]
    sparse = tf.sparse.from_dense([[1, 0, 3]])
    np.testing.assert_array_equal(int8.layers[0](sparse), int8.layers[0](tf.constant([[1, 0, 3]])))


@pytest.mark.parametrize("causal", [False, True])
def test_batches_of_no_rows_with_a_mask_pass(causal):
    x, mask = keras.Input((6, 16)), keras.Input((6, 6), dtype="bool")
    y = QuantAttention(2, 8)(x, x, attention_mask=mask, use_causal_mask=causal)
    model = calibrated(keras.Model([x, mask], y), [X, np.ones((8, 6, 6), bool)])
    nothing = [X[:0], np.ones((0, 6, 6), bool)]
    assert convert(model)(nothing).shape == model(nothing).shape == (0, 6, 16)


def test_layers_made_in_a_remat_scope_train_calibrate_and_convert():
    # The other modes fail in `fit` of plain Keras layers on TensorFlow as well.
    with keras.RematScope(mode="activations"):
        x = keras.Input((6, 16))
        h = QuantAttention(2, 8)(x, x)
        model = keras.Model(x, QuantDense(4)(QuantDense(8, activation="relu")(h)))
    model.compile("sgd", "mse")
    y = X[:, :, :4]
    first = model.train_on_batch(X, y)
    assert model.train_on_batch(X, y) < first
    model.predict(X, verbose=0, callbacks=[CalibrationCallback("naive")])
    int8 = convert(model)
    assert relative(int8.predict(X, verbose=0), model.predict(X, verbose=0)) < 0.1
    simulate(model)
    assert np.isfinite(model.train_on_batch(X, y))
