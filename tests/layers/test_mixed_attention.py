"""`MixedAttention` against plain NumPy: integer for integer where it is INT8, close where float."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import Int8Attention, MixedAttention
from keras_int8nmt.layers.projections import MATMULS
from keras_int8nmt.quantization import (
    QuantParams,
    combine_scales,
    fold_bias,
    fold_output_scale,
    quantize,
    quantize_weights,
)

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
QUERY_INPUT = QuantParams(np.float32(31), 110, "uint8")
MEMORY_INPUT = QuantParams(np.float32(37), 0, "int8")
HEAD_PARAMS = {
    "query": QuantParams(np.float32(33)),
    "key": QuantParams(np.float32(29)),
    "value": QuantParams(np.float32(27)),
}
CONTEXT = QuantParams(np.float32(52), 120, "uint8")


def make(layer_class=MixedAttention, self_attention=False, **changes):
    if layer_class is MixedAttention:
        changes["precision"] = {**dict.fromkeys(MATMULS, "int8"), **changes.get("precision", {})}
    inputs = {"query": QUERY_INPUT, "key_value": MEMORY_INPUT}
    return layer_class.from_kernels(
        KERNELS,
        OUTPUT,
        num_heads=HEADS,
        key_dim=KEY_DIM,
        value_dim=VALUE_DIM,
        input_params={"query_key_value": QUERY_INPUT} if self_attention else inputs,
        head_params=HEAD_PARAMS,
        context_params=CONTEXT,
        **changes,
    )


# ---- the same in NumPy ----


def int8_product(x, kernel, bias, params, output=None):
    codes, weight_scale = quantize_weights(kernel)
    scales = combine_scales(params, weight_scale)
    bias = fold_bias(bias, codes, weight_scale, params)
    if output is not None:
        scales, bias = fold_output_scale(scales, bias, output.scale)
    x = x if x.dtype == params.dtype else quantize(x, params)
    y = (x.astype(np.int64) @ codes.astype(np.int64)).astype(np.float32) * scales + bias
    return y if output is None else quantize(y, QuantParams(np.float32(1), 0, "int8"))


def projection(name, x, params, precision):
    kernel, bias = KERNELS[name]
    reader = precision["AV" if name == "value" else "QK"]
    output = HEAD_PARAMS[name] if reader == "int8" else None
    if precision[name] == "int8":
        return int8_product(x, kernel, bias, params, output)
    y = x @ kernel + bias
    return y if output is None else quantize(y, output)


def heads(x):
    return x.reshape(*x.shape[:2], HEADS, -1).astype(np.float64)


def attended(q, k, v, precision, lengths):
    """The context as the output projection reads it."""
    scores = np.einsum("btnh,bsnh->bnts", heads(q), heads(k)) / np.sqrt(KEY_DIM)
    if precision["QK"] == "int8":
        scores /= float(HEAD_PARAMS["query"].scale) * float(HEAD_PARAMS["key"].scale)
    scores = np.where(np.arange(k.shape[1]) < lengths[:, None, None, None], scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    step = 1.0
    if precision["AV"] == "int8":
        p, step = np.rint(p * 255), 1 / (255 * float(HEAD_PARAMS["value"].scale))
    context = np.einsum("bnts,bsnh->btnh", p, heads(v)) * step
    context = context.reshape(*q.shape[:2], -1).astype(np.float32)
    return quantize(context, CONTEXT) if precision["attention_output"] == "int8" else context


def expected(precision, lengths):
    q = projection("query", X, QUERY_INPUT, precision)
    k, v = (projection(name, MEMORY, MEMORY_INPUT, precision) for name in ("key", "value"))
    context = attended(q, k, v, precision, lengths)
    if precision["attention_output"] == "int8":
        return int8_product(context, *OUTPUT, CONTEXT)
    return context @ OUTPUT[0] + OUTPUT[1]


def assert_equal_but_for_ties(found, exact):
    """To 1e-5 of the largest value; a code at a rounding tie may move a row a little."""
    differences = np.abs(np.asarray(found) - exact) / np.abs(exact).max()
    moved = np.any(differences > 1e-5, axis=-1)
    assert np.mean(moved) <= 0.1
    assert differences.max() < 0.02


@pytest.mark.parametrize("qk", ["int8", "float32"])
@pytest.mark.parametrize("av", ["int8", "float32"])
def test_every_assignment_computes_what_numpy_does(qk, av):
    for own in itertools.product(["int8", "float32"], repeat=4):
        precision = dict(zip((*KERNELS, "attention_output"), own, strict=True), QK=qk, AV=av)
        layer = make(precision=precision)
        result = layer(tf.constant(X), tf.constant(MEMORY), key_lengths=LENGTHS)
        assert_equal_but_for_ties(result, expected(precision, LENGTHS))


@pytest.mark.parametrize("reader", ["int8", "float32"])
@pytest.mark.parametrize("own", ["int8", "float32"])
def test_keys_and_values_are_written_as_their_reader_multiplies_them(own, reader):
    precision = {"key": own, "value": own, "QK": reader, "AV": reader}
    layer = make(precision=precision)
    found = layer.compute_cache(tf.constant(MEMORY))
    for name, cache, empty in zip(("key", "value"), found, layer.make_cache(1, 2), strict=True):
        exact = projection(name, MEMORY, MEMORY_INPUT, layer.precision)
        assert cache.dtype.name == empty.dtype.name == reader
        assert empty.shape == (1, 2, exact.shape[-1])
        if own == "float32":
            # A code at a rounding tie may be the next one.
            np.testing.assert_allclose(cache, exact, atol=1.0 if reader == "int8" else 1e-5)
            assert np.mean(cache.numpy() == exact) > 0.98 or reader == "float32"
        else:
            np.testing.assert_array_equal(cache, exact)


def test_with_everything_in_int8_it_is_int8_attention():
    mixed, int8 = make(), make(Int8Attention)
    assert mixed.groups == int8.groups == ("query", "key_value")
    arguments = tf.constant(X), tf.constant(MEMORY)
    np.testing.assert_array_equal(mixed(*arguments), int8(*arguments))


@pytest.mark.parametrize(
    ("floats", "groups"),
    [
        ((), ("query_key_value",)),
        (("QK", "AV"), ("query_key_value",)),
        (("AV",), ("query_key", "value")),
        (("key",), ("query_value", "key")),
        (("key", "AV"), ("query", "key", "value")),
    ],
)
def test_int8_projections_of_one_input_and_one_type_share_a_product(floats, groups):
    layer = make(self_attention=True, precision=dict.fromkeys(floats, "float32"))
    assert layer.groups == groups
    assert tuple(layer.products) == (*groups, "attention_output")
    # Float columns have no scales.
    scales = sum(KERNELS[name][1].size for name in floats if name in KERNELS)
    int8 = make(Int8Attention, self_attention=True)
    assert layer.count_params() + scales == int8.count_params()


@pytest.mark.parametrize(
    "floats", [("QK",), ("AV",), ("QK", "AV"), ("key",), ("value", "AV", "attention_output")]
)
def test_a_cache_gives_what_all_positions_at_once_give(floats):
    layer = make(self_attention=True, precision=dict.fromkeys(floats, "float32"))
    x = tf.constant(X)
    everything = layer(x, x, use_causal_mask=True).numpy()
    cache = layer.make_cache(B, T + 3)
    for t in range(T):
        step = x[:, t : t + 1]
        # With a causal mask, and with the positions written until now.
        out, cache_after = layer(step, step, use_causal_mask=True, cache=cache, cache_index=t)
        other, cache = layer(step, step, cache=cache, cache_index=t)
        np.testing.assert_array_equal(out, other)
        for one, two in zip(cache_after, cache, strict=True):
            np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(out[:, 0], everything[:, t], atol=1e-5)


def test_masks_mean_what_lengths_mean_and_a_row_without_keys_attends_to_nothing():
    layer = make(precision={"QK": "float32", "attention_output": "float32"})
    x, memory = tf.constant(X), tf.constant(MEMORY)
    mask = np.arange(S) < LENGTHS[:, None]
    by_length = layer(x, memory, key_lengths=LENGTHS)
    np.testing.assert_array_equal(layer(x, memory, value_mask=tf.constant(mask)), by_length)
    nothing = layer(x, memory, attention_mask=tf.zeros((T, S), tf.bool))
    np.testing.assert_array_equal(nothing, np.broadcast_to(OUTPUT[1], nothing.shape))


def test_codes_are_read_where_all_that_read_them_are_int8():
    layer = make(precision={"AV": "float32", "key": "float32"})
    codes = tf.constant(quantize(X, QUERY_INPUT))
    np.testing.assert_array_equal(
        layer(codes, tf.constant(MEMORY)), layer(tf.constant(X), tf.constant(MEMORY))
    )
    with pytest.raises(ValueError, match="reads float32 values"):
        layer(codes, tf.constant(quantize(MEMORY, MEMORY_INPUT)))


@pytest.mark.parametrize("floats", [("QK",), ("key", "AV"), MATMULS])
def test_a_saved_layer_gives_the_same_bits(floats):
    layer = make(precision=dict.fromkeys(floats, "float32"))
    store: dict = {}
    layer.save_own_variables(store)
    again = MixedAttention.from_config(json.loads(json.dumps(layer.get_config())))
    with pytest.raises(ValueError, match="has no weights yet"):
        again(tf.constant(X), tf.constant(MEMORY))
    again.load_own_variables(store)
    assert again.precision == layer.precision
    arguments = tf.constant(X), tf.constant(MEMORY)
    np.testing.assert_array_equal(again(*arguments), layer(*arguments))


@pytest.mark.parametrize("precision", [{"QK": "float16"}, {"softmax": "int8"}])
def test_a_wrong_precision_is_refused(precision):
    with pytest.raises(ValueError, match=r"`precision` must say int8 or float32 of each of query"):
        make(precision=precision)


def test_attention_scores_are_refused_by_name():
    with pytest.raises(ValueError, match="MixedAttention can't return attention scores"):
        make()(tf.constant(X), tf.constant(MEMORY), return_attention_scores=True)
