"""Run on JAX by `layers/test_training_on_jax.py`: thresholds learn, and are saved."""

import sys
import tempfile

import keras
import numpy as np

from keras_int8nmt.calibration import finish_training, observers, prepare_training
from keras_int8nmt.callbacks.calibration import CalibrationCallback
from keras_int8nmt.layers.int8_gather import Int8Gather
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.layers.quant_attention import QuantAttention
from keras_int8nmt.layers.quant_dense import QuantDense
from keras_int8nmt.quantization import dequantize, quantize

assert keras.config.backend() == "jax"
RNG = np.random.default_rng(0)
IDS = RNG.integers(1, 20, (32, 6))
Y = RNG.normal(size=(32, 6, 4)).astype(np.float32)


def check_a_threshold_finds_its_place():
    x = RNG.normal(size=(256, 16)).astype(np.float32)
    model = keras.Sequential([keras.Input((16,)), Observer()])
    observer = model.layers[0]
    observer.set_thresholds(-0.5, 8.0)
    prepare_training(model)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    losses = model.fit(x, x, batch_size=64, epochs=40, verbose=0).history["loss"]
    assert losses[-1] < 0.05 * losses[0]
    low, high = finish_training(model)[observer.path]
    assert -4.5 < low < -2.5, low
    assert 2.5 < high < 4.5, high
    params = observer.params()
    assert params.dtype == "uint8"
    assert np.mean((dequantize(quantize(x, params), params) - x) ** 2) < 2 * losses[-1]


def build_model():
    ids = keras.Input((6,), dtype="int32")
    x = Int8Gather(20, 8, name="table")(ids)
    x = x + QuantAttention(2, 4, name="attention")(x, x, use_causal_mask=True)
    x = QuantDense(8, activation="relu", name="first")(x)
    return keras.Model(ids, QuantDense(4, name="second")(x))


def check_training_and_saving():
    model = build_model()
    model.predict(IDS, verbose=0, callbacks=[CalibrationCallback("independent")])
    before = [o.thresholds() for _, o in observers(model) if o.is_calibrated]
    prepare_training(model, threshold_rate=5.0)
    model.compile(keras.optimizers.Adam(3e-3), "mse")
    losses = model.fit(IDS, Y, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    after = [o.thresholds() for _, o in observers(model) if o.is_calibrated]
    assert all(old[1] != new[1] for old, new in zip(before, after, strict=True))
    assert "tensorflow" not in sys.modules
    # Keras itself imports an installed TensorFlow when it saves.
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder + "/m.keras")
        again = keras.models.load_model(folder + "/m.keras")
    np.testing.assert_array_equal(again.predict(IDS, verbose=0), model.predict(IDS, verbose=0))
    expected = model.fit(IDS, Y, epochs=2, verbose=0, shuffle=False).history["loss"]
    losses = again.fit(IDS, Y, epochs=2, verbose=0, shuffle=False).history["loss"]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    finish_training(again)
    model.predict(IDS, verbose=0)


check_a_threshold_finds_its_place()
check_training_and_saving()
print("jax ok")
