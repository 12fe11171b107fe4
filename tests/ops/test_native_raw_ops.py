"""The raw ops of the native library, eager and in a graph, against plain NumPy in one order."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import native

F32 = np.float32
NO_MASK = np.zeros(0, bool)
RNG = np.random.default_rng(7)


@pytest.fixture(params=["eager", "graph"])
def ops(request):
    """The raw ops by their short names: NumPy in and out; inputs by name, attributes in a dict."""
    library = native.library()
    if library is None:
        pytest.skip(f"no native library: {native.reason()}")

    def short(name):
        raw = getattr(library, f"keras_int8nmt_{name}")

        def run(attributes=None, **inputs):
            def call(**tensors):
                return raw(**tensors, **(attributes or {}))

            function = tf.function(call) if request.param == "graph" else call
            result = function(**{name: tf.constant(value) for name, value in inputs.items()})
            return tf.nest.map_structure(lambda tensor: tensor.numpy(), result)

        return run

    names = "pack_weights unpack_weights mat_mul quantize dequantize layer_norm attention"
    names += " cache_append gather embedding top_k_log_probs"
    return SimpleNamespace(**{name: short(name) for name in names.split()})


def int8(*shape):
    return RNG.integers(-127, 128, shape).astype(np.int8)


def float32(*shape):
    return RNG.normal(size=shape).astype(F32)


def sum16(row):
    partial = [F32(0)] * 16
    for i, value in enumerate(row):
        partial[i % 16] += value
    for half in (8, 4, 2, 1):
        partial = [partial[i] + partial[i + half] for i in range(half)]
    return partial[0]


EXP = np.array(
    [1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.50000001201], F32
)


def exp(x):
    n = np.rint(x * F32(1.44269504))
    r = x - n * F32(0.693359375)
    r = r - n * F32(-2.12194440e-4)
    p = F32(1.9875691500e-4)
    for factor in (
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        0.50000001201,
    ):
        p = p * r + F32(factor)
    return np.ldexp((p * (r * r) + r) + F32(1), int(n))


def to_codes(y, dtype, scale=1.0, zero_point=0):
    low, high = (-127, 127) if dtype == "int8" else (0, 255)
    return np.clip(np.rint(y * F32(scale)) + F32(zero_point), low, high).astype(dtype)


# ---- values


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 33), (257, 130)])
def test_weights_come_back_from_the_packed_blob(ops, shape):
    weights = int8(*shape)
    packed = ops.pack_weights(weights=weights)
    assert packed.dtype == np.uint8
    np.testing.assert_array_equal(ops.unpack_weights(packed=packed), weights)


@pytest.mark.parametrize("in_dtype", ["int8", "uint8"])
@pytest.mark.parametrize("leading", [(), (1,), (7,), (2, 3)])
def test_matmul(ops, in_dtype, leading):
    low, high = (-127, 128) if in_dtype == "int8" else (0, 256)
    x = RNG.integers(low, high, (*leading, 19)).astype(in_dtype)
    weights, scales, bias = int8(19, 37), F32(0.01) * np.abs(float32(37)), float32(37)
    inputs = {"x": x, "packed": ops.pack_weights(weights=weights), "scales": scales, "bias": bias}
    product = x.astype(np.int32) @ weights.astype(np.int32)
    y = product.astype(F32) * scales + bias

    np.testing.assert_array_equal(ops.mat_mul({"Tout": tf.float32}, **inputs), y)
    relu = ops.mat_mul({"Tout": tf.uint8, "activation": "relu"}, **inputs)
    np.testing.assert_array_equal(relu, to_codes(np.maximum(y, 0), "uint8"))
    shifted = ops.mat_mul({"Tout": tf.int8, "out_scale": 20.0, "out_zero_point": -5}, **inputs)
    np.testing.assert_array_equal(shifted, to_codes(y, "int8", 20.0, -5))


def test_matmul_of_one_packed_blob_in_many_calls(ops):
    """TensorFlow shares kernel objects between calls; two sets of weights must not mix."""
    x, one, two = int8(4, 8), int8(8, 3), int8(8, 3)
    ones, zeros = np.ones(3, F32), np.zeros(3, F32)
    for weights in (one, two, one):
        packed = ops.pack_weights(weights=weights)
        y = ops.mat_mul({"Tout": tf.float32}, x=x, packed=packed, scales=ones, bias=zeros)
        np.testing.assert_array_equal(y, x.astype(int) @ weights.astype(int))


@pytest.mark.parametrize(("dtype", "zero_point"), [("int8", 0), ("int8", -127), ("uint8", 131)])
def test_quantize_and_dequantize(ops, dtype, zero_point):
    x = np.concatenate([float32(50) * 40, F32([0.25, -0.25, 0.75, 1e30, -1e30, -0.0, np.nan])])
    attributes = {"Tout": tf.as_dtype(dtype), "scale": 2.0, "zero_point": zero_point}
    q = ops.quantize(attributes, x=x)
    low = 0 if dtype == "uint8" else -127
    np.testing.assert_array_equal(q[:-1], to_codes(x[:-1], dtype, 2.0, zero_point))
    assert q[-1] == low, "NaN becomes the least code"
    back = ops.dequantize({"inv_scale": 0.5, "zero_point": zero_point}, q=q)
    np.testing.assert_array_equal(back, (q.astype(np.int32) - zero_point).astype(F32) * F32(0.5))


def plain_layer_norm(s, gamma, beta, epsilon):
    y = np.empty_like(s)
    for i, row in enumerate(s):
        d = row - sum16(row) / F32(len(row))
        rstd = F32(1) / np.sqrt(sum16(d * d) / F32(len(row)) + F32(epsilon))
        y[i] = (d * rstd) * gamma + beta
    return y


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("carry_sum", [False, True])
def test_layer_norm(ops, with_residual, carry_sum):
    x, gamma, beta = float32(3, 21), float32(21), float32(21)
    residual = float32(3, 21) if with_residual else np.zeros(0, F32)
    s = x + residual if with_residual else x
    y = plain_layer_norm(s, gamma, beta, 1e-3)
    inputs = {"x": x, "residual": residual, "gamma": gamma, "beta": beta}
    attributes = {"epsilon": 1e-3, "carry_sum": carry_sum}
    for dtype, scale, zero_point in [("float32", 1.0, 0), ("int8", 30.0, 0), ("uint8", 30.0, 99)]:
        output = {"Tout": tf.as_dtype(dtype), "out_scale": scale, "out_zero_point": zero_point}
        carry, out = ops.layer_norm(attributes | output, **inputs)
        np.testing.assert_array_equal(carry, s if carry_sum else y)
        expected = y if dtype == "float32" else to_codes(y, dtype, scale, zero_point)
        np.testing.assert_array_equal(out, expected)


def attention_inputs(batch=2, rows=3, keys=9, heads=2, head_dim=5, value_dim=4):
    return {
        "query": int8(batch, rows, heads * head_dim),
        "key": int8(batch, keys, heads * head_dim),
        "value": int8(batch, keys, heads * value_dim),
        "lengths": np.full(batch, keys, np.int32),
        "mask": NO_MASK,
        "offset": np.int32(0),
    }


ATTENTION = {"num_heads": 2, "head_dim": 5, "value_dim": 4, "scale": 1e-4, "out_scale": 0.02}


def plain_attention(inputs, allowed, attributes):
    """float(acc) * out_scale with one head at a time; allowed [batch, rows, keys]."""
    heads, head_dim, value_dim = (attributes[n] for n in ("num_heads", "head_dim", "value_dim"))
    query, key, value = (inputs[n].astype(np.int32) for n in ("query", "key", "value"))
    batch, rows, _ = query.shape
    out = np.zeros((batch, rows, heads, value_dim), F32)
    for b, t, h in np.ndindex(batch, rows, heads):
        if not allowed[b, t].any():
            continue
        columns = slice(h * head_dim, (h + 1) * head_dim)
        scores = (key[b, :, columns] @ query[b, t, columns]).astype(F32) * F32(attributes["scale"])
        best = scores[allowed[b, t]].max()
        e = F32([exp(s - best) if ok else 0 for s, ok in zip(scores, allowed[b, t], strict=True)])
        p = np.rint(e * (F32(255) / sum16(e))).astype(np.int32)
        acc = p @ value[b, :, h * value_dim : (h + 1) * value_dim]
        out[b, t, h] = acc.astype(F32) * F32(attributes["out_scale"])
    return out.reshape(batch, rows, -1)


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
def test_attention(ops, dtype):
    inputs = attention_inputs()
    inputs["lengths"] = np.int32([9, 4])
    allowed = np.broadcast_to(np.arange(9) < inputs["lengths"][:, None, None], (2, 3, 9))
    zero_point = 100 if dtype == "uint8" else 0
    output = {"Tout": tf.as_dtype(dtype), "out_zero_point": zero_point}
    expected = plain_attention(inputs, allowed, ATTENTION)
    if dtype != "float32":
        expected = to_codes(expected, dtype, 1.0, zero_point)
    np.testing.assert_array_equal(ops.attention(ATTENTION | output, **inputs), expected)


@pytest.mark.parametrize("mask_shape", [(2, 3, 9), (1, 3, 9), (2, 1, 9), (1, 1, 9)])
def test_attention_with_mask_and_causal_offset(ops, mask_shape):
    inputs = attention_inputs()
    inputs["mask"] = RNG.random(mask_shape) < 0.6
    inputs["mask"][0, 0] = False  # A row with no allowed key is all zeros.
    inputs["offset"] = np.int32(4)
    allowed = inputs["mask"] & (np.arange(9) <= 4 + np.arange(3)[:, None])
    allowed = np.broadcast_to(allowed, (2, 3, 9))
    result = ops.attention(ATTENTION | {"Tout": tf.float32, "causal": True}, **inputs)
    np.testing.assert_array_equal(result, plain_attention(inputs, allowed, ATTENTION))


def test_attention_reads_heads_at_columns_of_wider_rows(ops):
    inputs = attention_inputs()
    attributes = ATTENTION | {"Tout": tf.float32}
    expected = ops.attention(attributes, **inputs)
    fused = np.concatenate([inputs["query"], int8(2, 3, 7)], axis=-1).reshape(6, 17)
    cache = np.concatenate([int8(2, 9, 3), inputs["key"], inputs["value"]], axis=-1)
    inputs |= {"query": fused, "key": cache, "value": cache}
    result = ops.attention(attributes | {"key_column": 3, "value_column": 13}, **inputs)
    np.testing.assert_array_equal(result, expected.reshape(6, 8))


@pytest.mark.parametrize("steps", [1, 3])
def test_cache_append(ops, steps):
    cache, update = int8(2, 6, 4), int8(2 * steps, 11)
    result = ops.cache_append({"column": 5}, cache=cache, update=update, index=np.int32(2))
    expected = cache.copy()
    expected[:, 2 : 2 + steps] = update.reshape(2, steps, 11)[:, :, 5:9]
    np.testing.assert_array_equal(result, expected)


def test_cache_append_in_a_loop_keeps_the_first_cache():
    library = native.library()
    if library is None:
        pytest.skip(f"no native library: {native.reason()}")
    start, rows = tf.constant(int8(2, 5, 3)), tf.constant(int8(5, 2, 3))

    @tf.function
    def fill(start, rows):
        def step(i, cache):
            return i + 1, library.keras_int8nmt_cache_append(cache=cache, update=rows[i], index=i)

        return tf.while_loop(lambda i, _: i < 5, step, (0, start))[1]

    before = start.numpy().copy()
    filled = fill(start, rows).numpy()
    np.testing.assert_array_equal(filled, rows.numpy().transpose(1, 0, 2))
    np.testing.assert_array_equal(start.numpy(), before)


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32", "int32"])
@pytest.mark.parametrize(
    ("shape", "index_shape", "batch_dims"),
    [((5,), (3,), 0), ((5, 4), (2, 3), 0), ((5, 2, 3), (), 0), ((2, 5, 4), (2, 3), 1),
     ((2, 3, 5), (2, 3), 2)],
)  # fmt: skip
def test_gather(ops, shape, index_shape, batch_dims, dtype, index_dtype):
    x = RNG.integers(0, 100, shape).astype(dtype)
    indices = RNG.integers(0, shape[batch_dims], index_shape).astype(index_dtype)
    expected = tf.gather(x, indices, axis=batch_dims, batch_dims=batch_dims).numpy()
    result = ops.gather({"batch_dims": batch_dims}, x=x, indices=indices)
    np.testing.assert_array_equal(result, expected)


def test_embedding(ops):
    table, inv_scales = int8(7, 5), float32(7)
    indices = RNG.integers(0, 7, (2, 3)).astype(np.int32)
    vectors = ops.embedding(
        {"multiplier": 3.3}, table=table, inv_scales=inv_scales, indices=indices
    )
    expected = (table[indices].astype(F32) * inv_scales[indices][..., None]) * F32(3.3)
    np.testing.assert_array_equal(vectors, expected)


@pytest.mark.parametrize("forbidden", [-1, 0, 4])
def test_top_k_log_probs(ops, forbidden):
    logits = float32(3, 23)
    logits[0, [4, 7, 9]] = logits[0].max() + 1  # ties go to the lower id
    log_probs, ids = ops.top_k_log_probs({"k": 6, "forbidden": forbidden}, logits=logits)
    for row, row_log_probs, row_ids in zip(logits, log_probs, ids, strict=True):
        total = sum16(F32([exp(x - row.max()) for x in row]))
        expected = row - (row.max() + F32(np.log(np.float64(total))))
        order = [i for i in np.argsort(-expected, kind="stable") if i != forbidden][:6]
        np.testing.assert_array_equal(row_ids, order)
        np.testing.assert_array_equal(row_log_probs, expected[order])


def test_many_threads_at_once(ops):
    inputs = attention_inputs(rows=20, keys=40)
    cases = []
    for columns in range(1, 9):
        packed, ones = ops.pack_weights(weights=int8(10, columns)), np.ones(columns, F32)
        cases.append({"x": inputs["query"], "packed": packed, "scales": ones, "bias": ones})

    def work(case):
        product = ops.mat_mul({"Tout": tf.float32}, **case)
        return product, ops.attention(ATTENTION | {"Tout": tf.int8}, **inputs)

    expected = [work(case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        for i, result in enumerate(pool.map(work, cases * 8)):
            np.testing.assert_array_equal(result[0], expected[i % 8][0])
            np.testing.assert_array_equal(result[1], expected[i % 8][1])


# ---- shapes known while tracing


def test_shapes_in_a_graph():
    library = native.library()
    if library is None:
        pytest.skip(f"no native library: {native.reason()}")

    @tf.function
    def trace(x, y):
        blob, scales = tf.zeros([64], tf.uint8), tf.zeros([8])
        product = library.keras_int8nmt_mat_mul(
            x=x, packed=blob, scales=scales, bias=scales, Tout=tf.float32
        )
        assert product.shape.as_list() == [None, 3, 8]
        assert library.keras_int8nmt_unpack_weights(packed=blob).shape.as_list() == [None, None]
        best = library.keras_int8nmt_top_k_log_probs(logits=y, k=2)
        assert [part.shape.as_list() for part in best] == [[4, None]] * 2
        assert library.keras_int8nmt_quantize(x=y, Tout=tf.int8, scale=1.0).shape == [4, 6]
        return product

    trace.get_concrete_function(tf.TensorSpec([None, 3, None], tf.int8), tf.TensorSpec([4, 6]))
