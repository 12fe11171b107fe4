"""Run on JAX by `layers/test_jax.py`: forward, training, calibration, simulation."""

import sys
import tempfile

import keras
import numpy as np

from keras_int8nmt.calibration import Histogram, observers, simulate
from keras_int8nmt.callbacks.calibration import CalibrationCallback
from keras_int8nmt.layers.int8_gather import Int8Gather
from keras_int8nmt.layers.quant_attention import QuantAttention
from keras_int8nmt.layers.quant_dense import QuantDense

assert keras.config.backend() == "jax"
RNG = np.random.default_rng(0)
IDS = RNG.integers(1, 20, (32, 6))
Y = RNG.normal(size=(32, 6, 4)).astype(np.float32)


def build_model():
    ids = keras.Input((6,), dtype="int32")
    x = Int8Gather(20, 8, name="table")(ids)
    x = x + QuantAttention(2, 4, dropout=0.1, name="attention")(x, x, use_causal_mask=True)
    x = QuantDense(8, activation="relu", name="first")(x)
    return keras.Model(ids, QuantDense(4, name="second")(x))


def check_attention_against_the_parent():
    x = RNG.normal(size=(2, 5, 8)).astype(np.float32)
    ours, parent = QuantAttention(2, 4), keras.layers.MultiHeadAttention(2, 4)
    ours(x, x), parent(x, x)
    for own, theirs in zip(ours.trainable_weights, parent.trainable_weights, strict=True):
        own.assign(theirs)
    expected = np.asarray(parent(x, x, use_causal_mask=True))
    np.testing.assert_allclose(ours(x, x, use_causal_mask=True), expected, atol=1e-6)
    cache = ours.make_cache(2, 7)
    for t in range(5):
        output, cache = ours(x[:, t : t + 1], x[:, t : t + 1], cache=cache, cache_index=t)
        np.testing.assert_allclose(output[:, 0], expected[:, t], atol=1e-6)


def check_calibration_and_training():
    model = build_model()
    model.compile("adam", "mse", jit_compile=True)
    expected = model.predict(IDS, verbose=0)
    table = np.asarray(model.get_layer("table").embeddings)
    for run in (model.evaluate, model.predict):
        data = (IDS, Y) if run == model.evaluate else (IDS,)
        run(*data, batch_size=8, verbose=0, callbacks=[CalibrationCallback("naive")])
        watched = dict(observers(model))["attention/query_input"]
        counts = watched.to_histogram().counts
        np.testing.assert_array_equal(counts, Histogram().add(table[IDS]).counts)
        seen = watched.channel_statistics
        assert np.all(np.asarray(seen.count) == IDS.size)
        np.testing.assert_allclose(seen.means(), table[IDS].mean((0, 1)), atol=1e-6)
        np.testing.assert_array_equal(seen.largest_magnitudes(), abs(table[IDS]).max((0, 1)))
    np.testing.assert_array_equal(model.predict(IDS, verbose=0), expected)
    simulate(model)
    simulated = model.predict(IDS, verbose=0)
    assert 0 < np.abs(simulated - expected).max() < 0.05 * np.abs(expected).max()
    losses = model.fit(IDS, Y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    simulate(model, enabled=False)
    callback = CalibrationCallback(epoch=1)
    model.fit(IDS, Y, validation_data=(IDS, Y), epochs=2, verbose=0, callbacks=[callback])
    total = dict(observers(model))["attention/query_input"].to_histogram().total
    assert total == IDS.size * 8, total
    return model


def check_saving(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder + "/m.keras")
        again = keras.models.load_model(folder + "/m.keras")
        np.testing.assert_array_equal(again.predict(IDS, verbose=0), model.predict(IDS, verbose=0))


check_attention_against_the_parent()
trained = check_calibration_and_training()
assert "tensorflow" not in sys.modules
# Keras itself imports an installed TensorFlow when it saves.
check_saving(trained)
print("jax ok")
