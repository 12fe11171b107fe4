"""`DynamicDense` and `DynamicAttention` against plain NumPy, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import DynamicAttention, DynamicDense
from keras_int8nmt.layers.projections import MATMULS, TENSOR_PRODUCTS
from keras_int8nmt.quantization import dynamic_matmul, quantize_weights

B, T, S, D = 3, 4, 6, 16
HEADS, KEY_DIM, VALUE_DIM = 2, 8, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, D)).astype(np.float32)
MEMORY = RNG.normal(size=(B, S, D)).astype(np.float32)
LENGTHS = np.array([6, 2, 4], np.int32)


def weights(rows, columns):
    kernel = RNG.normal(0, 0.3, (rows, columns)).astype(np.float32)
    return kernel, RNG.normal(0, 0.1, columns).astype(np.float32)


KERNELS = {
    "query": weights(D, HEADS * KEY_DIM),
    "key": weights(D, HEADS * KEY_DIM),
    "value": weights(D, HEADS * VALUE_DIM),
}
OUTPUT = weights(HEADS * VALUE_DIM, D)


def product(x, kernel, bias):
    return dynamic_matmul(x, *quantize_weights(kernel), bias)


# ---- dense ----


def test_a_dense_layer_computes_the_reference():
    kernel, bias = KERNELS["query"]
    for activation, function in ((None, lambda y: y), ("relu", lambda y: np.maximum(y, 0))):
        layer = DynamicDense.from_kernel(kernel, bias, activation)
        np.testing.assert_array_equal(layer(X), function(product(X, kernel, bias)))
        assert layer.compute_output_spec(X).shape == layer(X).shape
    without = DynamicDense.from_kernel(kernel, None, None)
    np.testing.assert_array_equal(without(X), product(X, kernel, np.zeros_like(bias)))
    # A bias and a scale a column.
    assert layer.count_params() == kernel.size + 2 * bias.size


def test_an_activation_that_the_product_does_not_know_is_that_of_keras():
    kernel, bias = KERNELS["query"]
    layer = DynamicDense.from_kernel(kernel, bias, "softplus")
    exact = np.log1p(np.exp(product(X, kernel, bias)))
    np.testing.assert_allclose(layer(X), exact, rtol=1e-5, atol=1e-6)


def test_a_saved_dense_layer_gives_the_same_bits_and_needs_its_weights():
    layer = DynamicDense.from_kernel(*KERNELS["query"], "gelu")
    store: dict = {}
    layer.save_own_variables(store)
    assert store["kernel"].dtype == np.int8
    again = DynamicDense.from_config(json.loads(json.dumps(layer.get_config())))
    with pytest.raises(ValueError, match="has no weights yet"):
        again(X)
    again.load_own_variables(store)
    np.testing.assert_array_equal(again(X), layer(X))
    other = DynamicDense(7)
    with pytest.raises(ValueError, match="has 7 units; the stored weights have shape"):
        other.load_own_variables(store)
    with pytest.raises(ValueError, match=r"must be int8 of rank 2; found float32"):
        again.load_own_variables({**store, "kernel": KERNELS["query"][0]})


def test_codes_are_refused():
    layer = DynamicDense.from_kernel(*KERNELS["query"], None)
    with pytest.raises(ValueError, match="reads float32 values; received a tensor of int8"):
        layer(tf.zeros((1, D), tf.int8))


# ---- attention ----


def make(inputs=("query", "key_value"), **floats):
    precision = {
        **dict.fromkeys(MATMULS, "int8"),
        **dict.fromkeys(TENSOR_PRODUCTS, "float32"),
        **floats,
    }
    return DynamicAttention.from_kernels(
        KERNELS,
        OUTPUT,
        num_heads=HEADS,
        key_dim=KEY_DIM,
        value_dim=VALUE_DIM,
        inputs=inputs,
        precision=precision,
    )


def projection(x, name, precision):
    kernel, bias = OUTPUT if name == "attention_output" else KERNELS[name]
    return product(x, kernel, bias) if precision[name] == "int8" else x @ kernel + bias


def heads(x):
    return x.reshape(*x.shape[:2], HEADS, -1).astype(np.float64)


def context(x, memory, lengths, precision):
    q = projection(x, "query", precision)
    k, v = (projection(memory, name, precision) for name in ("key", "value"))
    scores = np.einsum("btnh,bsnh->bnts", heads(q), heads(k)) / np.sqrt(KEY_DIM)
    scores = np.where(np.arange(k.shape[1]) < lengths[:, None, None, None], scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    y = np.einsum("bnts,bsnh->btnh", p, heads(v))
    return y.reshape(*x.shape[:2], -1).astype(np.float32)


@pytest.mark.parametrize("floats", [(), ("key",), ("attention_output",), ("query", "value")])
def test_attention_computes_what_numpy_does(floats):
    layer = make(**dict.fromkeys(floats, "float32"))
    found = layer(tf.constant(X), tf.constant(MEMORY), key_lengths=LENGTHS).numpy()
    attended = context(X, MEMORY, LENGTHS, layer.precision)
    exact = projection(attended, "attention_output", layer.precision)
    # A code of the context at a rounding tie may be the next one.
    differences = np.abs(found - exact) / np.abs(exact).max()
    assert differences.max() < 0.02
    assert np.mean(differences > 1e-5) < 0.05


def test_keys_and_values_are_the_float_results_of_int8_products():
    layer = make()
    found = layer.compute_cache(tf.constant(MEMORY))
    for name, cache, empty in zip(("key", "value"), found, layer.make_cache(1, 2), strict=True):
        np.testing.assert_array_equal(cache, product(MEMORY, *KERNELS[name]))
        assert cache.dtype == empty.dtype == tf.float32


def test_which_projections_share_a_product_changes_no_number():
    one = make(("query_key_value",))
    assert one.groups == ("query_key_value",)
    x = tf.constant(X)
    for inputs in (("query", "key", "value"), ("query", "key_value")):
        other = make(inputs)
        assert other.groups == inputs
        np.testing.assert_array_equal(one(x, x), other(x, x))
    mixed = make(("query_key_value",), key="float32")
    assert mixed.groups == ("query_value", "key")
    assert one.count_params() == other.count_params()
    # Float columns have no scales.
    assert one.count_params() == mixed.count_params() + HEADS * KEY_DIM


def test_a_cache_gives_what_all_positions_at_once_give():
    layer = make(("query_key_value",))
    x = tf.constant(X)
    everything = layer(x, x, use_causal_mask=True).numpy()
    cache = layer.make_cache(B, T + 3)
    for t in range(T):
        out, cache = layer(x[:, t : t + 1], x[:, t : t + 1], cache=cache, cache_index=t)
        np.testing.assert_allclose(out[:, 0], everything[:, t], atol=0.01)


def test_a_saved_attention_gives_the_same_bits():
    layer = make(key="float32")
    store: dict = {}
    layer.save_own_variables(store)
    config = json.loads(json.dumps(layer.get_config()))
    assert "input_params" not in config
    again = DynamicAttention.from_config(config)
    with pytest.raises(ValueError, match="has no weights yet"):
        again(tf.constant(X), tf.constant(MEMORY))
    again.load_own_variables(store)
    assert (again.precision, again.groups) == (layer.precision, layer.groups)
    arguments = tf.constant(X), tf.constant(MEMORY)
    np.testing.assert_array_equal(again(*arguments), layer(*arguments))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"QK": "int8"}, "QK and AV are float32 where scales are dynamic"),
        ({"key": "int4"}, "`precision` must say int8 or float32 of each of query"),
        ({"inputs": ("query", "key")}, "`inputs` must name each of query, key, value once"),
        ({"inputs": ("query_key", "key_value")}, "received .*'query_key', 'key_value'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        make(**change)
