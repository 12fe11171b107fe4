"""Run on JAX by `models/test_transformer.py`: forward, a step, training, calibration."""

import sys

import keras
import numpy as np

from keras_int8nmt.calibration import observers, simulate
from keras_int8nmt.calibration.smooth_quant import balance
from keras_int8nmt.callbacks.calibration import CalibrationCallback
from keras_int8nmt.models.build import build_transformer, copy_weights

assert keras.config.backend() == "jax"
RNG = np.random.default_rng(0)
SOURCE = RNG.integers(2, 20, (16, 5)).astype(np.int32)
SOURCE[::2, 3:] = 0
TARGET = np.concatenate([np.zeros((16, 1), np.int32), SOURCE[:, :-1]], axis=1)
DATA = {"source": SOURCE, "target": TARGET}


def build(quant):
    return build_transformer(
        quant,
        source_vocabulary_size=20,
        model_dim=16,
        num_heads=4,
        ffn_dim=24,
        num_encoder_layers=1,
        num_decoder_layers=1,
        max_length=8,
    )


def check_outputs(plain, quant):
    copy_weights(plain, quant)
    expected = plain.predict(DATA, verbose=0)
    np.testing.assert_allclose(quant.predict(DATA, verbose=0), expected, atol=1e-5)
    # Eagerly JAX compiles every branch of the observers at each call: few steps.
    for model, steps in ((plain, 3), (quant, 1)):
        cache = model.start_cache(model.encode(SOURCE), 1, 5)
        for i in range(steps):
            logits, cache = model.decode_step(TARGET[:, i : i + 1], i, cache)
            cache = model.reorder_cache(cache, np.zeros((16, 1), np.int32))
            np.testing.assert_allclose(logits, expected[:, i], atol=1e-5)


def check_training_and_calibration(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    weights = (SOURCE > 0).astype(np.float32)
    losses = model.fit(DATA, SOURCE, sample_weight=weights, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    before = model.predict(DATA, verbose=0)
    model.evaluate(DATA, SOURCE, verbose=0, callbacks=[CalibrationCallback()])
    totals = {path.partition("/")[2]: o.to_histogram().total for path, o in observers(model)}
    assert totals["encoder_block_0/ffn_in/input_observer"] == 16 * (SOURCE > 0).sum()
    # What follows reads the configuration, for which Keras itself looks for TensorFlow.
    assert "tensorflow" not in sys.modules
    balanced = balance(model)
    assert np.any(balanced.encoder_blocks[0].ffn_in.kernel != model.encoder_blocks[0].ffn_in.kernel)
    np.testing.assert_allclose(
        balanced.predict(DATA, verbose=0), before, atol=2e-5 * np.abs(before).max()
    )
    simulate(model)
    simulated = model.predict(DATA, verbose=0)
    assert 0 < np.abs(simulated - before).max() < 0.2 * np.abs(before).max()


quantized = build(True)
check_outputs(build(False), quantized)
check_training_and_calibration(quantized)
print("jax ok")
