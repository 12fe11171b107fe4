"""`QuantCachedMultiHeadAttention`: called as KerasHub's layer is, with caches, float and INT8."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers.layer_contract import check_layer, copy_weights

from keras_int8nmt import convert
from keras_int8nmt.layers.inference.frozen_cached_attention import FrozenCachedAttention
from keras_int8nmt.layers.model_state import set_state, settle
from keras_int8nmt.layers.quant_cached_attention import QuantCachedMultiHeadAttention

RNG = np.random.default_rng(0)
B, T, S, D, HEADS, DIM = 2, 4, 5, 12, 2, 3
X = RNG.normal(size=(B, T, D)).astype(np.float32)
V = RNG.normal(size=(B, S, D)).astype(np.float32)
CAUSAL = np.tril(np.ones((1, T, T), bool))
MASKS = {
    "none": None,
    "rank 2": RNG.random((T, S)) > 0.3,
    "rank 3": RNG.random((B, T, S)) > 0.3,
    "numbers": (RNG.random((B, 1, S)) > 0.3).astype(np.int32),
}


def layer_of(*inputs, **options):
    keras.utils.set_random_seed(0)
    layer = QuantCachedMultiHeadAttention(HEADS, DIM, bias_initializer="normal", **options)
    layer(*inputs)
    return layer


def calibrated(*inputs, mask=None, **options):
    """A layer on two inputs, and a model of it that has seen them."""
    layer = layer_of(*inputs, **options)
    symbols = [keras.Input(x.shape[1:]) for x in inputs]
    model = keras.Model(symbols, layer(*symbols))
    set_state(model, "observing")
    tensors = {id(x): keras.ops.convert_to_tensor(x) for x in inputs}
    layer(*(tensors[id(x)] for x in inputs), attention_mask=mask)
    set_state(model, "float")
    settle(model, "independent")
    return layer, model


def step_by_step(layer, dtype="float32", cached=False):
    """Self-attention of X, a position at a time."""
    cache = keras.ops.zeros((B, 2, T, HEADS, DIM), dtype)
    outputs = []
    for t in range(T):
        x = X[:, t : t + 1]
        given = {"attention_mask": CAUSAL[:, t : t + 1], "cache": cache, "cache_update_index": t}
        if cached:
            output, cache = layer.call_cached(keras.ops.convert_to_tensor(x), **given)
        else:
            output, cache = layer(x, x, **given)
        cache = keras.ops.cast(cache, dtype)
        outputs.append(output)
    return np.concatenate(outputs, axis=1), cache


def test_passes_the_layer_contract(tmp_path):
    init = {"num_heads": HEADS, "key_dim": DIM, "dropout": 0.1, "seed": 1}
    cls = QuantCachedMultiHeadAttention
    check_layer(cls, init, lambda layer: layer(X, V), [X, V], (B, T, D), tmp_path)


@pytest.mark.parametrize("name", MASKS)
def test_without_a_cache_it_is_multi_head_attention(name):
    keras.utils.set_random_seed(1)
    parent = keras.layers.MultiHeadAttention(HEADS, DIM, bias_initializer="normal")
    parent(X, V)
    layer, model = calibrated(X, V, mask=MASKS[name])
    copy_weights(parent, layer)
    expected = parent(X, V, attention_mask=MASKS[name]).numpy()
    np.testing.assert_allclose(layer(X, V, attention_mask=MASKS[name]), expected, atol=1e-6)
    set_state(model, "observing")
    layer(X, V, attention_mask=MASKS[name])
    set_state(model, "float")
    settle(model, "independent")
    frozen = convert(model).layers[-1]
    assert type(frozen) is FrozenCachedAttention
    result = frozen(X, V, attention_mask=MASKS[name]).numpy()
    assert 0 < np.abs(result - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("state", ["float", "simulating", "int8", "dynamic", "mixed"])
@pytest.mark.parametrize("cached", [False, True])
def test_step_by_step_is_all_at_once(state, cached):
    layer, model = calibrated(X, X, mask=CAUSAL)
    if state in ("float", "simulating"):
        set_state(model, state)
    else:
        options = {"dynamic": {"activations": "dynamic"}, "mixed": {"policy": "paper"}}
        layer = convert(model, **options.get(state, {})).layers[-1]
    steps, _ = step_by_step(layer, cached=cached)
    np.testing.assert_allclose(steps, layer(X, X, attention_mask=CAUSAL), atol=1e-6)


def test_a_cache_of_bfloat16_holds_the_same_codes():
    _, model = calibrated(X, X, mask=CAUSAL)
    frozen = convert(model).layers[-1]
    exact, _ = step_by_step(frozen)
    rounded, half = step_by_step(frozen, "bfloat16")
    assert half.dtype == "bfloat16"
    np.testing.assert_array_equal(rounded, exact)


@pytest.mark.parametrize("state", ["float", "int8"])
def test_a_cache_that_is_not_updated_is_read_as_it_is(state):
    layer, model = calibrated(X, V)
    if state == "int8":
        layer = convert(model).layers[-1]
    empty = keras.ops.zeros((B, 2, S, HEADS, DIM))
    _, cache = layer(X[:, :1], V, cache=empty, cache_update_index=0)
    output, same = layer(X, V, cache=cache)
    np.testing.assert_allclose(output, layer(X, V), atol=1e-6)
    assert same is cache
    with pytest.raises(ValueError, match="`cache_update_index` needs `cache`"):
        layer(X, V, cache_update_index=0)


def test_keys_that_nobody_sees_are_not_observed():
    mask = np.ones((B, T, T), bool)
    mask[:, :, 2:] = False
    layer, _ = calibrated(X, X, mask=mask)
    assert layer.query_input.to_histogram().total == B * 2 * D
    assert layer.key.to_histogram().total == B * 2 * HEADS * DIM


def test_a_converted_layer_is_saved_with_its_cache_s_shape(tmp_path):
    _, model = calibrated(X, X, mask=CAUSAL)
    int8 = convert(model)
    int8.save(tmp_path / "int8.keras")
    again = keras.models.load_model(tmp_path / "int8.keras")
    old, _ = step_by_step(int8.layers[-1])
    new, _ = step_by_step(again.layers[-1])
    np.testing.assert_array_equal(new, old)
