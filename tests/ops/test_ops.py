"""Each op on both paths, native and stock, against plain NumPy: the same integers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt.ops import (
    functions as ops,
)
from keras_int8nmt.ops import stock as stock_ops
from keras_int8nmt.ops.attention_settings import AttentionSettings
from keras_int8nmt.quantization import QuantParams, dequantize, quantize

F = np.float32


@pytest.fixture(params=["eager", "graph"])
def run(request):
    """Calls a function eagerly or inside a `tf.function`."""
    return (lambda f: f()) if request.param == "eager" else (lambda f: tf.function(f)())


def codes(rng, dtype, *shape):
    low, high = (0, 256) if dtype == "uint8" else (-127, 128)
    return rng.integers(low, high, shape).astype(dtype)


# ---- matrix products ----


def reference_matmul(x, weights, scales, bias, activation, out):
    acc = x.astype(np.int64) @ weights.astype(np.int64)
    y = acc.astype(np.int32).astype(F) * scales
    y = y + bias
    if activation == "relu":
        y = np.where(y > 0, y, F(0))
    return y if out is None else quantize(y, out)


@pytest.mark.parametrize(
    ("shape", "n"),
    [((1, 1), 1), ((3, 17), 5), ((2, 5, 64), 33), ((129, 96), 64), ((1, 1025), 8), ((0, 8), 4)],
)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(
    "out", [None, QuantParams(F(3), 0, "int8"), QuantParams(F(2), 90, "uint8")]
)
def test_matmul_is_exact(path, shape, n, dtype, out):
    rng = np.random.default_rng(n)
    x, weights = codes(rng, dtype, *shape), codes(rng, "int8", shape[-1], n)
    scales = rng.uniform(1e-4, 1e-2, n).astype(F)
    bias = rng.normal(size=n).astype(F)
    step = (
        {}
        if out is None
        else {"out_scale": out.scale, "out_zero_point": out.zero_point, "out_dtype": out.dtype}
    )
    packed = ops.pack_weights(weights)
    for activation in ("none", "relu"):
        y = ops.int8_matmul(x, packed, scales, bias, activation=activation, **step)
        expected = reference_matmul(x, weights, scales, bias, activation, out)
        np.testing.assert_array_equal(y.numpy(), expected, strict=True)


def test_extreme_codes_do_not_saturate(path):
    x = np.full((2, 512), 255, np.uint8)
    weights = np.full((512, 16), 127, np.int8)
    weights[:, 1::2] = -127
    y = ops.int8_matmul(x, ops.pack_weights(weights), np.ones(16, F), np.zeros(16, F))
    np.testing.assert_array_equal(y[0, :2], [255 * 127 * 512, -255 * 127 * 512])


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "swish"])
def test_activations_are_close_to_their_formulas_and_equal_on_both_paths(activation, monkeypatch):
    rng = np.random.default_rng(0)
    x, weights = codes(rng, "int8", 40, 32), codes(rng, "int8", 32, 20)
    scales, bias = np.full(20, 1e-4, F), rng.normal(size=20).astype(F)

    def product():
        packed = ops.pack_weights(weights)
        return ops.int8_matmul(x, packed, scales, bias, activation=activation).numpy()

    y = reference_matmul(x, weights, scales, bias, "none", None).astype(np.float64)
    exact = {
        "gelu": lambda: tf.nn.gelu(tf.constant(y)).numpy(),
        "gelu_tanh": lambda: tf.nn.gelu(tf.constant(y), approximate=True).numpy(),
        "swish": lambda: y / (1 + np.exp(-y)),
    }[activation]()
    active = product()
    np.testing.assert_allclose(active, exact, atol=5e-7, rtol=2e-6)
    monkeypatch.setattr(ops, "_backend", lambda: stock_ops)
    np.testing.assert_array_equal(active, product())


def test_packing_keeps_the_weights(path):
    weights = codes(np.random.default_rng(0), "int8", 37, 19)
    np.testing.assert_array_equal(ops.unpack_weights(ops.pack_weights(weights)), weights)


# ---- quantize, dequantize, embedding ----


@pytest.mark.parametrize("params", [QuantParams(F(7.3), 0, "int8"), QuantParams(F(9), 31, "uint8")])
def test_quantize_and_dequantize_are_the_number_rules(path, run, params):
    x = np.random.default_rng(0).normal(0, 10, (3, 1001)).astype(F)
    x[0, :5] = [np.nan, np.inf, -np.inf, 0.5 / 7.3, -0.0]
    q = run(lambda: ops.quantize(x, params.scale, params.zero_point, params.dtype))
    np.testing.assert_array_equal(q.numpy(), quantize(x, params), strict=True)
    back = run(lambda: ops.dequantize(q, params.scale, params.zero_point))
    np.testing.assert_array_equal(back.numpy(), dequantize(q.numpy(), params), strict=True)


def test_embedding_rows_are_scaled_codes(path, run):
    rng = np.random.default_rng(0)
    table, inv = codes(rng, "int8", 11, 24), rng.uniform(0.01, 0.1, 11).astype(F)
    ids = np.array([[0, 10, 3], [3, 3, 7]], np.int32)
    rows = run(lambda: ops.embedding_lookup(table, inv, ids, multiplier=5.657))
    expected = (table[ids].astype(F) * inv[ids][..., None]) * F(5.657)
    np.testing.assert_array_equal(rows.numpy(), expected, strict=True)


# ---- LayerNorm ----


@pytest.mark.parametrize("columns", [1, 15, 16, 17, 64, 300])
@pytest.mark.parametrize("carry", ["norm", "sum"])
def test_layer_norm_is_close_to_double_precision(path, columns, carry):
    rng = np.random.default_rng(columns)
    x, residual = rng.normal(2, 3, (2, 4, 7, columns)).astype(F)
    gamma, beta = rng.normal(size=(2, columns)).astype(F)
    total = x.astype(np.float64) + residual
    deviation = total - total.mean(-1, keepdims=True)
    expected = deviation / np.sqrt((deviation**2).mean(-1, keepdims=True) + 1e-5) * gamma + beta
    carried, out = ops.layer_norm(x, gamma, beta, residual=residual, carry=carry)
    np.testing.assert_allclose(out, expected, atol=3e-5)
    np.testing.assert_allclose(carried, total if carry == "sum" else expected, atol=3e-5)
    _, quantized = ops.layer_norm(
        x, gamma, beta, residual=residual, carry=carry, out_scale=20.0, out_dtype="int8"
    )
    rule = QuantParams(F(20), 0, "int8")
    np.testing.assert_array_equal(quantized.numpy(), quantize(out.numpy(), rule), strict=True)


def test_layer_norm_without_residual(path):
    x = np.arange(8, dtype=F).reshape(2, 4)
    _, out = ops.layer_norm(x, np.ones(4, F), np.zeros(4, F))
    assert abs(float(tf.reduce_mean(out))) < 1e-6


# ---- attention ----


def reference_attention(q, k, v, allowed, scale, bias=0.0):
    """Float context, in the number rules but float64; `[b, t, n, h]`."""
    scores = np.einsum("btnh,bsnh->bnts", q.astype(np.float64), k.astype(np.float64)) * scale
    scores = scores + bias
    scores = np.where(allowed[:, None], scores, -np.inf)
    largest = scores.max(-1, keepdims=True)
    powers = np.exp(scores - np.where(np.isfinite(largest), largest, 0))
    total = powers.sum(-1, keepdims=True)
    p = np.rint(powers * (255 / np.where(total > 0, total, 1)))
    return np.einsum("bnts,bsnh->btnh", p, v.astype(np.float64))


@pytest.mark.parametrize(
    ("batch", "rows", "keys", "causal", "masked"),
    [
        (1, 1, 1, False, False),
        (2, 5, 5, True, False),
        (3, 4, 19, False, True),
        (2, 3, 40, True, True),
    ],
)
def test_attention_is_the_quantized_softmax_average(path, run, batch, rows, keys, causal, masked):
    rng = np.random.default_rng(keys)
    heads, dim, value_dim, offset = 2, 8, 6, 2
    q = codes(rng, "int8", batch, rows, heads, dim)
    k = codes(rng, "int8", batch, keys, heads, dim)
    v = codes(rng, "int8", batch, keys, heads, value_dim)
    lengths = rng.integers(1, keys + 1, batch).astype(np.int32)
    allowed = np.arange(keys)[None, None] < lengths[:, None, None]
    allowed = np.repeat(allowed, rows, axis=1)
    if causal:
        allowed &= (np.arange(keys)[None] <= offset + np.arange(rows)[:, None])[None]
    mask = None
    if masked:
        mask = rng.random((batch, rows, keys)) < 0.7
        mask[0, 0] = False
        allowed &= mask
    context = run(
        lambda: ops.int8_attention(
            q.reshape(batch, rows, -1),
            k.reshape(batch, keys, -1),
            v.reshape(batch, keys, -1),
            lengths,
            mask=mask,
            num_heads=heads,
            head_dim=dim,
            value_dim=value_dim,
            scale=2e-4,
            causal=causal,
            offset=offset,
        )
    )
    expected = reference_attention(q, k, v, allowed, 2e-4).reshape(batch, rows, -1)
    assert context.shape == expected.shape
    # A probability at a rounding tie may fall either way: one step of one value.
    assert np.mean(np.abs(context - expected) > 1e-3) < 0.05
    assert np.abs(context - expected).max() <= 127 * 2
    np.testing.assert_array_equal(context.numpy()[~allowed.any(-1)], 0.0)


@pytest.mark.parametrize("shape", [(3, 2, 4, 19), (1, 2, 4, 19), (3, 1, 1, 19), (1, 1, 4, 19)])
def test_a_bias_is_added_to_the_scores(path, run, shape):
    rng = np.random.default_rng(5)
    q, k, v = (codes(rng, "int8", 3, n, 16) for n in (4, 19, 19))
    bias = rng.normal(size=shape).astype(F)
    # As of keys that a mask hides.
    bias[..., -1, 7:] = -1e9
    common = {"num_heads": 2, "head_dim": 8, "scale": 2e-4}
    lengths = np.full(3, 19, np.int32)
    context = run(lambda: ops.int8_attention(q, k, v, lengths, bias=bias, **common))
    heads = [x.reshape(3, -1, 2, 8) for x in (q, k, v)]
    allowed = np.ones((3, 4, 19), bool)
    expected = reference_attention(*heads, allowed, 2e-4, bias).reshape(3, 4, 16)
    # As above.
    assert np.mean(np.abs(context - expected) > 1e-3) < 0.05
    assert np.abs(context - expected).max() <= 127 * 2


def test_attention_reads_heads_from_columns_of_one_fused_tensor(path):
    rng = np.random.default_rng(0)
    fused = codes(rng, "int8", 2, 5, 3 * 16)
    lengths = np.array([5, 3], np.int32)
    common = {"num_heads": 2, "head_dim": 8, "scale": 1e-3, "out_scale": 0.01, "out_dtype": "int8"}
    apart = ops.int8_attention(
        fused[..., :16], fused[..., 16:32], fused[..., 32:], lengths, **common
    )
    together = ops.int8_attention(
        fused, fused, fused, lengths, query_column=0, key_column=16, value_column=32, **common
    )
    np.testing.assert_array_equal(apart, together)


def test_what_lies_behind_the_length_never_matters(path):
    rng = np.random.default_rng(0)
    q, k = codes(rng, "int8", 2, 3, 16), codes(rng, "int8", 2, 9, 16)
    lengths = np.array([4, 7], np.int32)
    common = {"num_heads": 2, "head_dim": 8, "scale": 1e-3}
    first = ops.int8_attention(q, k, k, lengths, **common)
    k[0, 4:], k[1, 7:] = 99, -5
    np.testing.assert_array_equal(first, ops.int8_attention(q, k, k, lengths, **common))
    shorter = ops.int8_attention(q, k[:, :7], k[:, :7], lengths, **common)
    np.testing.assert_array_equal(first, shorter)


# ---- caches and gathers ----


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize(("shape", "column"), [((6, 8), 0), ((3, 2, 8), 4), ((6, 12), 8)])
def test_cache_append_writes_rows_at_the_index_and_keeps_the_rest(path, run, shape, column, dtype):
    rng = np.random.default_rng(0)
    cache, update = (codes(rng, "int8", *s).astype(dtype) for s in ((6, 5, 4), shape))
    result = run(lambda: ops.cache_append(cache, update, 2, column=column))
    expected = cache.copy()
    expected[:, 2] = update.reshape(6, -1)[:, column : column + 4]
    np.testing.assert_array_equal(result.numpy(), expected, strict=True)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float32"])
@pytest.mark.parametrize(
    ("shape", "indices", "batch_dims"),
    [((5, 3), (4,), 0), ((5,), (2, 2), 0), ((2, 5, 3, 4), (2, 7), 1), ((2, 3, 4), (2, 3, 1), 2)],
)
def test_gather_copies_rows_as_tf_gather_does(path, run, dtype, shape, indices, batch_dims):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 100, shape).astype(dtype)
    i = rng.integers(0, shape[batch_dims], indices)
    for index_type in (np.int32, np.int64):
        result = run(lambda t=index_type: ops.int8_gather(x, i.astype(t), batch_dims))
        expected = tf.gather(x, i, axis=batch_dims, batch_dims=batch_dims)
        np.testing.assert_array_equal(result.numpy(), expected.numpy(), strict=True)


# ---- log-probabilities ----


@pytest.mark.parametrize(("rows", "columns", "k"), [(1, 1, 1), (3, 100, 8), (5, 17, 16)])
def test_top_k_log_probs_are_sorted_and_normalized(path, run, rows, columns, k):
    logits = np.random.default_rng(columns).normal(0, 5, (rows, columns)).astype(F)
    log_probs, ids = run(lambda: ops.top_k_log_probs(logits, k))
    exact = logits - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True))
    order = np.argsort(-logits, axis=-1, kind="stable")[:, :k]
    np.testing.assert_array_equal(ids, order)
    np.testing.assert_allclose(log_probs, np.take_along_axis(exact, order, -1), atol=1e-5)


def test_ties_go_to_the_lower_id_and_the_forbidden_id_only_counts(path):
    logits = np.array([[1, 3, 3, 3, 0]], F)
    log_probs, ids = ops.top_k_log_probs(logits, 3, forbidden=1)
    np.testing.assert_array_equal(ids, [[2, 3, 0]])
    total = np.log(np.exp(logits).sum())
    np.testing.assert_allclose(log_probs, [[3 - total, 3 - total, 1 - total]], atol=1e-6)


def test_both_paths_give_the_same_integers_on_random_products():
    if not ops.native_available():
        pytest.skip(f"no native library: {ops.native_info()}")
    from keras_int8nmt.ops import native as native_ops

    rng = np.random.default_rng(7)
    for k, n, out in itertools.product((31, 512, 600), (7, 64), ("float32", "int8", "uint8")):
        x, weights = codes(rng, "uint8", 9, k), codes(rng, "int8", k, n)
        arguments = (
            rng.uniform(1e-5, 1e-4, n).astype(F),
            rng.normal(size=n).astype(F),
            "relu",
            3.7,
            0,
            out,
        )
        results = []
        for backend in (native_ops, stock_ops):
            packed = backend.pack_weights(tf.constant(weights))
            x_, scales, bias = (tf.constant(a) for a in (x, *arguments[:2]))
            results.append(backend.int8_matmul(x_, packed, scales, bias, *arguments[2:]).numpy())
        np.testing.assert_array_equal(results[0], results[1], strict=True)


def test_both_paths_give_the_same_bits_in_float_sums():
    """LayerNorm, attention and log-probabilities, whose sums have one order on both paths."""
    if not ops.native_available():
        pytest.skip(f"no native library: {ops.native_info()}")
    from keras_int8nmt.ops import native as native_ops

    rng = np.random.default_rng(3)
    for rows, columns in ((1, 7), (3, 64), (40, 300), (2, 1024)):
        x = tf.constant(rng.normal(size=(rows, columns)).astype(F))
        gamma, beta = (tf.constant(v.astype(F)) for v in rng.normal(size=(2, columns)))
        norms = [
            b.layer_norm(x, gamma, beta, x, 1e-5, False, 20.0, 3, "uint8")
            for b in (native_ops, stock_ops)
        ]
        bests = [b.top_k_log_probs(x, 3, 1) for b in (native_ops, stock_ops)]
        for native, stock in zip([*norms[0], *bests[0]], [*norms[1], *bests[1]], strict=True):
            np.testing.assert_array_equal(native.numpy(), stock.numpy(), strict=True)
    for batch, rows, keys in ((1, 1, 1), (3, 4, 33), (2, 20, 20)):
        q = tf.constant(codes(rng, "int8", batch, rows, 16))
        k = tf.constant(codes(rng, "int8", batch, keys, 16))
        lengths = tf.constant(rng.integers(1, keys + 1, batch).astype(np.int32))
        settings = AttentionSettings(
            2, 8, 8, scale=1e-3, out_scale=0.01, out_dtype="int8", causal=True
        )
        bias = tf.constant(rng.normal(size=(1, 2, rows, keys)).astype(F))
        for biased in ((), (bias,)):
            results = [
                b.attention(q, k, k, lengths, None, tf.constant(1), settings, *biased)
                for b in (native_ops, stock_ops)
            ]
            np.testing.assert_array_equal(results[0].numpy(), results[1].numpy(), strict=True)
