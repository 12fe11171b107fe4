"""`Int8Attention` computes what a simulating `QuantAttention` does, with masks and with a cache."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.models import calibrate_eagerly

from keras_int8nmt import Int8Gather, QuantAttention, QuantDense, convert, native
from keras_int8nmt.conversion.layers import convert_attention
from keras_int8nmt.layers.model_state import set_state, settle

B, T, S, D = 3, 4, 6, 16
RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(B, T, D)).astype(np.float32)
VALUE = RNG.normal(size=(B, S, D)).astype(np.float32)
KEY = RNG.normal(size=(B, S, D)).astype(np.float32)


def calibrated(*inputs, mode="independent", **settings):
    keras.utils.set_random_seed(1)
    layer = QuantAttention(2, 8, value_dim=6, **settings)
    layer(*inputs)
    for weight in layer.trainable_weights:
        if weight.name == "bias":
            weight.assign(RNG.normal(0, 0.1, weight.shape).astype(np.float32))
    set_state(layer, "observing")
    layer(*inputs)
    settle(layer, mode)
    set_state(layer, "simulating")
    return layer, convert_attention(layer)


def assert_agree(simulated, int8):
    """To 1e-5 of the largest value, except rows with a value at a rounding tie."""
    simulated, int8 = np.asarray(simulated), np.asarray(int8)
    differences = np.abs(simulated - int8) / np.abs(simulated).max()
    moved = np.any(differences > 1e-5, axis=-1)
    assert np.mean(moved) <= 0.25
    assert differences.max() < 0.05


MASKS = {
    "none": {},
    "attention_mask of rank 2": {"attention_mask": RNG.random((T, S)) < 0.6},
    "attention_mask of rank 3": {"attention_mask": RNG.random((B, T, S)) < 0.6},
    "one attention_mask for all": {"attention_mask": RNG.random((1, 1, S)) < 0.6},
    "query_mask": {"query_mask": RNG.random((B, T)) < 0.6},
    "value_mask": {"value_mask": RNG.random((B, S)) < 0.6},
    "key_mask": {"key_mask": RNG.random((B, S)) < 0.6},
    "causal": {"use_causal_mask": True},
    "all at once": {
        "attention_mask": RNG.random((B, T, S)) < 0.8,
        "query_mask": RNG.random((B, T)) < 0.8,
        "value_mask": RNG.random((B, S)) < 0.8,
        "key_mask": RNG.random((B, S)) < 0.8,
        "use_causal_mask": True,
    },
    "no allowed key": {"attention_mask": np.zeros((T, S), bool)},
}


@pytest.fixture(scope="module")
def layers():
    return calibrated(QUERY, VALUE, KEY)


@pytest.mark.parametrize("name", MASKS)
def test_masks_mean_the_same(layers, name):
    layer, int8 = layers
    masks = {k: tf.constant(v) if k != "use_causal_mask" else v for k, v in MASKS[name].items()}
    simulated = layer(QUERY, VALUE, KEY, **masks)
    result = int8(tf.constant(QUERY), tf.constant(VALUE), tf.constant(KEY), **masks)
    assert np.all(np.isfinite(result))
    assert_agree(simulated, result)


def test_self_attention_is_one_product_of_query_key_and_value():
    x = tf.constant(QUERY)  # one tensor for all three, which two arrays would not be
    layer, int8 = calibrated(x, x)
    assert int8.groups == ("query_key_value",)
    assert_agree(layer(x, x, use_causal_mask=True), int8(x, x, use_causal_mask=True))


def test_a_cache_gives_what_all_positions_at_once_give():
    x = tf.constant(QUERY)
    _, int8 = calibrated(x, x)
    everything = int8(x, x, use_causal_mask=True).numpy()
    cache = int8.make_cache(B, T + 3)
    assert all(part.dtype == tf.int8 for part in cache)
    for t in range(T):
        step = x[:, t : t + 1]
        out, cache = int8(step, step, use_causal_mask=True, cache=cache, cache_index=t)
        np.testing.assert_allclose(out[:, 0], everything[:, t], atol=1e-6)


def test_computed_keys_and_values_give_cross_attention():
    _, int8 = calibrated(QUERY, VALUE)
    query, value = tf.constant(QUERY), tf.constant(VALUE)
    out, cache = int8(query, None, cache=int8.compute_cache(value))
    np.testing.assert_array_equal(out, int8(query, value))
    assert len(cache) == 2


def test_attention_scores_and_masks_for_each_head_are_refused_by_name(layers):
    _, int8 = layers
    x, v = tf.constant(QUERY), tf.constant(VALUE)
    with pytest.raises(ValueError, match="attention scores"):
        int8(x, v, return_attention_scores=True)
    with pytest.raises(ValueError, match="rank 2 or 3"):
        int8(x, v, attention_mask=tf.ones((B, 2, T, S), tf.bool))


def test_a_layer_called_with_a_mask_for_each_head_stays_float_and_says_so():
    layer = QuantAttention(2, 8)
    layer(QUERY, VALUE, attention_mask=np.ones((B, 2, T, S), bool))
    assert layer.unsupported_reasons() == ["an attention_mask for each head is computed in float"]


def test_implicit_keras_masks_reach_the_int8_layers():
    """Padding masked by an Embedding changes no real position, before and after conversion."""
    keras.utils.set_random_seed(2)
    ids = keras.Input((None,), dtype="int32")
    h = Int8Gather(20, 16, mask_zero=True)(ids)
    h = QuantAttention(2, 8)(h, h)
    model = keras.Model(ids, QuantDense(5)(h))
    data = RNG.integers(1, 20, (8, 6)).astype(np.int32)
    calibrate_eagerly(model, data)
    int8 = convert(model)
    padded = np.concatenate([data, np.zeros((8, 3), np.int32)], axis=1)
    np.testing.assert_allclose(int8(data), int8(padded)[:, :6], atol=1e-6)


@pytest.mark.parametrize("call", [{}, {"use_causal_mask": True}, {"attention_mask": True}])
def test_a_batch_of_no_rows_has_no_rows_of_output(call, layers):
    none = [tf.constant(x[:0]) for x in (QUERY, VALUE, KEY)]
    if "attention_mask" in call:
        call = {"attention_mask": tf.ones((0, T, S), tf.bool)}
    # The stock operations that stand in for the native library take no such batch.
    for layer in layers if native.functions() is not None else layers[:1]:
        assert layer(*none, **call).shape == (0, T, D)
