"""Run on JAX by `layers/test_jax.py`: the layer types beside Dense, attention and Embedding."""

import keras
import numpy as np

from keras_int8nmt.calibration import observers, simulate
from keras_int8nmt.callbacks.calibration import CalibrationCallback
from keras_int8nmt.layers.model_state import set_state, settle
from keras_int8nmt.layers.quant_cached_attention import QuantCachedMultiHeadAttention
from keras_int8nmt.layers.quant_einsum_dense import QuantEinsumDense
from keras_int8nmt.layers.quant_group_query_attention import QuantGroupQueryAttention
from keras_int8nmt.layers.quant_reversible_embedding import QuantReversibleEmbedding
from keras_int8nmt.layers.quant_t5_attention import QuantT5MultiHeadAttention

assert keras.config.backend() == "jax"
RNG = np.random.default_rng(0)
IDS = RNG.integers(1, 20, (32, 6))


def check_calibration_and_training():
    table = QuantReversibleEmbedding(20, 8, name="table")
    ids = keras.Input((6,), dtype="int32")
    x = table(ids)
    x = x + QuantGroupQueryAttention(4, 4, 2, name="grouped")(x, x, use_causal_mask=True)
    x = x + QuantCachedMultiHeadAttention(2, 4, name="cached")(x, x)
    x = QuantEinsumDense("abc,cde->abde", (6, 2, 6), activation="relu", name="up")(x)
    x = QuantEinsumDense("abde,dec->abc", (6, 8), bias_axes="c", name="down")(x)
    model = keras.Model(ids, table(x, reverse=True))
    model.compile("adam", "mse", jit_compile=True)
    expected = model.predict(IDS, verbose=0)
    model.predict(IDS, verbose=0, callbacks=[CalibrationCallback("naive")])
    watched = dict(observers(model))
    assert all(watched[name].is_calibrated for name in ("up/input_observer", "table/reverse_input"))
    np.testing.assert_array_equal(model.predict(IDS, verbose=0), expected)
    simulate(model)
    simulated = model.predict(IDS, verbose=0)
    assert 0 < np.abs(simulated - expected).max() < 0.05 * np.abs(expected).max()
    target = np.zeros_like(expected)
    losses = model.fit(IDS, target, epochs=2, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def check_against_the_parents():
    inputs = RNG.normal(size=(2, 5, 8)).astype(np.float32)
    pairs = (
        (QuantGroupQueryAttention(4, 4, 2), keras.layers.GroupQueryAttention(4, 4, 2)),
        (QuantEinsumDense("abc,dc->abd", (5, 3)), keras.layers.EinsumDense("abc,dc->abd", (5, 3))),
    )
    for ours, parent in pairs:
        given = (inputs, inputs) if "Attention" in type(ours).__name__ else (inputs,)
        parent(*given), ours(*given)
        ours.set_weights(parent.get_weights())
        np.testing.assert_allclose(ours(*given), parent(*given), atol=1e-6)


def check_a_bias_on_scores():
    inputs = RNG.normal(size=(2, 5, 8)).astype(np.float32)
    # It gives a None, which Keras takes in no Functional model.
    layer = QuantT5MultiHeadAttention(False, 8, 4, 2, 0.0, True)
    expected = layer(inputs)[0]
    set_state(layer, "observing")
    np.testing.assert_array_equal(layer(inputs)[0], expected)
    settle(layer, "naive")
    set_state(layer, "simulating")
    error = np.abs(np.asarray(layer(inputs)[0]) - expected).max()
    assert 0 < error < 0.05 * np.abs(expected).max()


check_against_the_parents()
check_a_bias_on_scores()
check_calibration_and_training()
print("jax ok")
