"""Every wrong input of the raw ops is refused with its name, what it is and what was expected."""

import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import native

F32 = np.float32


@pytest.fixture
def raw():
    library = native.library()
    if library is None:
        pytest.skip(f"no native library: {native.reason()}")
    return library


@pytest.fixture
def packed(raw):
    return raw.keras_int8nmt_pack_weights(weights=np.ones((5, 3), np.int8))


def call(raw, name, defaults, changes):
    return getattr(raw, f"keras_int8nmt_{name}")(**defaults | changes)


def refuses(raw, name, defaults, changes, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(raw, name, defaults, changes)
    # The same through a graph, where the shapes are not known before it runs.
    names = ("Tout", "activation", "k", "T", "Tin", "Tindices")
    tensors = {
        key: tf.constant(value)
        for key, value in (defaults | changes).items()
        if isinstance(value, np.ndarray | np.generic | tf.Tensor) and key not in names
    }
    rest = {key: value for key, value in (defaults | changes).items() if key not in tensors}

    def body(**inputs):
        hidden = {
            key: tf.ensure_shape(tf.py_function(lambda x: x, [x], x.dtype), None)
            for key, x in inputs.items()
        }
        return call(raw, name, hidden, rest)

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        tf.function(body)(**tensors)


# ---- packed weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3, np.int8), r"weights has shape \[3\]; expected \[k, n\]"),
        (np.ones((0, 3), np.int8), r"weights has shape \[0, 3\]; expected .* k from 1"),
        (np.ones((3, 0), np.int8), r"weights has shape \[3, 0\]; expected .* n at least 1"),
        (np.ones((66001, 1), np.int8), r"weights has shape \[66001, 1\]; expected .* to 66000"),
        (np.int8([[1, 2], [3, -128]]), r"weights has -128 at \[1, 1\]; expected -127 to 127"),
    ],
)
def test_weights(raw, weights, message):
    refuses(raw, "pack_weights", {}, {"weights": weights}, message)


def corrupt(blob, change):
    blob = blob.numpy().copy()
    if change == "empty":
        return blob[:0]
    if change == "header only":
        return blob[:64]
    if change == "short":
        return blob[:-1]
    if change == "long":
        return np.append(blob, np.uint8(0))
    position = {"magic": 0, "middle": 24, "end of header": 63}[change]
    blob[position] ^= 0x55
    return blob


BLOB_CHANGES = ["empty", "header only", "short", "long", "magic", "middle", "end of header"]


@pytest.mark.parametrize("change", BLOB_CHANGES)
def test_corrupt_blob(raw, packed, change):
    blob = corrupt(packed, change)
    refuses(raw, "unpack_weights", {}, {"packed": blob}, "packed weights")
    refuses(raw, "mat_mul", MATMUL, {"packed": blob}, "packed weights")


MATMUL = {
    "x": np.ones((2, 5), np.int8),
    "scales": np.ones(3, F32),
    "bias": np.ones(3, F32),
    "Tout": tf.int8,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.int8(1)}, r"x has shape \[\]; expected \[\.\.\., k\]"),
        ({"x": np.ones((2, 4), np.int8)}, r"x has shape \[2, 4\]; expected a last dim of 5"),
        ({"packed": np.ones((2, 64), np.uint8)}, r"packed has shape \[2, 64\]; expected \[bytes\]"),
        ({"scales": np.ones(4, F32)}, r"scales has shape \[4\]; expected \[3\]"),
        ({"scales": np.ones((3, 1), F32)}, r"scales has shape \[3, 1\]; expected \[3\]"),
        ({"bias": np.ones(1, F32)}, r"bias has shape \[1\]; expected \[3\]"),
        ({"activation": "tanh"}, 'activation is "tanh"; expected one of none, relu'),
        ({"out_scale": 0.0}, "out_scale is 0; expected a number above 0"),
        ({"out_scale": float("inf")}, "out_scale is inf; expected a finite number"),
        ({"out_zero_point": -128}, "out_zero_point is -128; expected -127 to 127"),
        ({"out_zero_point": 256, "Tout": tf.uint8}, "out_zero_point is 256; expected 0 to 255"),
        ({"out_zero_point": 1, "Tout": tf.float32}, "out_zero_point is 1; expected 0 to 0"),
        ({"Tout": tf.int32}, "Tout"),
        ({"x": np.ones((2, 5), F32)}, "Tin|T"),
    ],
)
def test_matmul(raw, packed, changes, message):
    try:
        refuses(raw, "mat_mul", {"packed": packed} | MATMUL, changes, message)
    except TypeError:  # the graph refuses wrong types before the op is made
        assert message.startswith("T")


# ---- the others


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 0.0}, "scale is 0; expected"),
        ({"scale": -1.0}, "scale is -1; expected"),
        ({"scale": float("nan")}, "scale is nan; expected"),
        ({"zero_point": 128}, "zero_point is 128; expected -127 to 127"),
    ],
)
def test_quantize(raw, changes, message):
    refuses(
        raw, "quantize", {"x": np.ones(3, F32), "Tout": tf.int8, "scale": 1.0}, changes, message
    )
    changes = {"inv_scale" if key == "scale" else key: value for key, value in changes.items()}
    refuses(raw, "dequantize", {"q": np.ones(3, np.int8), "inv_scale": 1.0}, changes, message)


NORM = {
    "x": np.ones((2, 3), F32),
    "residual": np.zeros(0, F32),
    "gamma": np.ones(3, F32),
    "beta": np.ones(3, F32),
    "epsilon": 1e-3,
    "Tout": tf.int8,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": F32(1)}, r"x has shape \[\]; expected"),
        ({"residual": np.ones((3, 2), F32)}, r"residual has shape \[3, 2\]; expected \[2, 3\]"),
        ({"gamma": np.ones(2, F32)}, r"gamma has shape \[2\]; expected \[3\]"),
        ({"beta": np.ones(4, F32)}, r"beta has shape \[4\]; expected \[3\]"),
        ({"epsilon": -1.0}, "epsilon is -1; expected 0 or more"),
        ({"epsilon": float("nan")}, "epsilon is nan; expected a finite number"),
    ],
)
def test_layer_norm(raw, changes, message):
    refuses(raw, "layer_norm", NORM, changes, message)


ATTENTION = {
    "query": np.ones((4, 6), np.int8),
    "key": np.ones((2, 5, 6), np.int8),
    "value": np.ones((2, 5, 8), np.int8),
    "lengths": np.int32([5, 5]),
    "mask": np.zeros(0, bool),
    "offset": np.int32(0),
    "num_heads": 2,
    "head_dim": 3,
    "value_dim": 4,
    "scale": 1.0,
    "out_scale": 1.0,
    "Tout": tf.float32,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": np.ones((4, 5), np.int8)}, r"query has shape \[4, 5\]; .* at least 6"),
        ({"query": np.ones((3, 6), np.int8)}, "query has 3 rows .* a multiple of .* 2"),
        ({"key": np.ones((5, 6), np.int8)}, r"key has shape \[5, 6\]; expected \[batch, keys"),
        ({"key": np.ones((2, 5, 5), np.int8)}, r"key has shape \[2, 5, 5\]; .* at least 6"),
        ({"key_column": 1}, r"key has shape .* at least 7 for 2 heads of 3 from column 1"),
        ({"value": np.ones((2, 5, 7), np.int8)}, r"value has shape \[2, 5, 7\]; .* at least 8"),
        ({"value": np.ones((2, 4, 8), np.int8)}, r"value has shape \[2, 4, 8\]; expected \[2, 5"),
        ({"lengths": np.int32([5])}, r"lengths has shape \[1\]; expected \[2\]"),
        ({"lengths": np.int32([5, 6])}, "lengths has 6 at position 1; expected 0 to 5"),
        ({"lengths": np.int32([-1, 5])}, "lengths has -1 at position 0; expected 0 to 5"),
        ({"mask": np.ones((2, 5), bool)}, r"mask has shape \[2, 5\]; expected \[2 or 1, 2 or 1, 5"),
        ({"mask": np.ones((3, 1, 5), bool)}, r"mask has shape \[3, 1, 5\]"),
        ({"mask": np.ones((2, 2, 4), bool)}, r"mask has shape \[2, 2, 4\]"),
        ({"offset": np.int32([0])}, r"offset has shape \[1\]; expected \[\]"),
        ({"offset": np.int32(-1)}, "offset is -1; expected 0 or more"),
        ({"num_heads": 0}, "num_heads is 0; expected 1"),
        ({"head_dim": 0}, "head_dim is 0; expected 1"),
        ({"value_dim": -1}, "value_dim is -1; expected 1"),
        ({"query_column": -1}, "query_column is -1; expected 0"),
        ({"num_heads": 2**40}, "num_heads is 1099511627776; expected 1 to 2147483647"),
        ({"num_heads": 2**31 - 1}, "query has shape"),
        ({"scale": -1.0}, "scale is -1; expected"),
    ],
)
def test_attention(raw, changes, message):
    refuses(raw, "attention", ATTENTION, changes, message)


@pytest.mark.parametrize(
    "shape", [(2, 2, 5), (3, 1, 1, 5), (2, 3, 2, 5), (2, 2, 3, 5), (1, 1, 1, 4)]
)
def test_biased_attention(raw, shape):
    biased = {**ATTENTION, "bias": np.zeros((1, 2, 2, 5), np.float32)}
    assert call(raw, "biased_attention", biased, {}).shape == (4, 8)
    message = r"bias has shape .*; expected \[2 or 1, 2 or 1, 2 or 1, 5\]"
    refuses(raw, "biased_attention", biased, {"bias": np.zeros(shape, np.float32)}, message)


APPEND = {
    "cache": np.ones((2, 5, 3), np.int8),
    "update": np.ones((4, 3), np.int8),
    "index": np.int32(0),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cache": np.ones((5, 3), np.int8)}, r"cache has shape \[5, 3\]; expected \[batch"),
        ({"update": np.ones((4, 2), np.int8)}, r"update has shape \[4, 2\]; .* at least 3"),
        ({"column": 1}, r"update has shape \[4, 3\]; .* at least 4"),
        ({"update": np.ones((3, 3), np.int8)}, "update has 3 rows .* a multiple of .* 2"),
        ({"index": np.int32(-1)}, "index is -1; expected 0 to 3 for 2 new rows"),
        ({"index": np.int32(4)}, "index is 4; expected 0 to 3 for 2 new rows"),
        ({"index": np.int32([1])}, r"index has shape \[1\]; expected \[\]"),
        ({"column": -1}, "column is -1; expected 0"),
    ],
)
def test_cache_append(raw, changes, message):
    refuses(raw, "cache_append", APPEND, changes, message)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("index", [-1, 4])
def test_index_out_of_range(raw, index, dtype):
    x, indices = np.ones((4, 2), np.int8), np.array([[0, 1], [index, 2]], dtype)
    message = f"indices has {index} at flat position 2; expected 0 to 3"
    refuses(raw, "gather", {}, {"x": x, "indices": indices}, message)
    if dtype is np.int32:
        inputs = {"table": x, "inv_scales": np.ones(4, F32), "indices": indices}
        refuses(raw, "embedding", {}, inputs, message)


def test_gather_batch_dims(raw):
    x, indices = np.ones((2, 4), np.int8), np.zeros((3, 1), np.int32)
    inputs = {"x": x, "indices": indices}
    refuses(raw, "gather", inputs, {"batch_dims": 1}, r"indices has shape \[3, 1\]; expected")
    refuses(raw, "gather", inputs, {"batch_dims": 2}, "expected ranks of at least 3 and 2")
    refuses(raw, "gather", inputs, {"batch_dims": -1}, "batch_dims is -1; expected 0")


# Shapes with a 0 may say numbers whose product with others overflows; of some TensorFlow would end
# the process.
HUGE = 2**62


@pytest.mark.parametrize(
    ("shape", "indices", "batch_dims"),
    [
        ([1, HUGE, 0], [4], 0),
        ([1, HUGE, 0], [2, 3], 0),
        ([1, 2**62 - 1, 0], [3], 0),
        ([2, 1, 2**61, 0], [2, 4], 1),
        ([1, *[1] * 150, 0], [1] * 150, 0),
    ],
)
def test_an_output_that_can_not_be_is_an_error(raw, shape, indices, batch_dims):
    x, indices = tf.zeros(shape, tf.int8), tf.zeros(indices, tf.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the output would have"):
        raw.keras_int8nmt_gather(x=x, indices=indices, batch_dims=batch_dims)
    if batch_dims == 0:
        with pytest.raises(tf.errors.InvalidArgumentError):
            tf.gather(x, indices)


def test_an_output_of_nothing_may_have_a_huge_dim(raw):
    found = raw.keras_int8nmt_gather(x=tf.zeros([3, 0, HUGE], tf.int8), indices=[0, 1, 2, 0])
    assert found.shape == (4, 0, HUGE)
    table, rows = tf.zeros([1, 1], tf.int8), tf.zeros([0, HUGE], tf.int32)
    found = raw.keras_int8nmt_embedding(table=table, inv_scales=[1.0], indices=rows, multiplier=1.0)
    assert found.shape == (0, HUGE, 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="would have 255 dims"):
        raw.keras_int8nmt_embedding(
            table=table, inv_scales=[1.0], indices=tf.zeros([1] * 254, tf.int32), multiplier=1.0
        )


@pytest.mark.parametrize(
    ("cache", "update", "index", "column"),
    [
        ([0, 0, 2**63 - 1], [0, 5], 0, 7),
        ([1, 3, 0], [2**63 - 1, 0], 2**31 - 1, 0),
        ([1, 3, 0], [HUGE, 0], 1, 0),
    ],
)
def test_sums_of_huge_dims_do_not_overflow(raw, cache, update, index, column):
    cache, update = tf.zeros(cache, tf.int8), tf.zeros(update, tf.int8)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected"):
        raw.keras_int8nmt_cache_append(cache=cache, update=update, index=index, column=column)


def test_float_weights_of_a_huge_dim_are_refused(raw):
    x, packed = tf.zeros([0, HUGE]), tf.zeros([0], tf.uint8)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected at most"):
        raw.keras_int8nmt_float_mat_mul(x=x, packed=packed, bias=[0.0] * 4)


def test_packed_weights_whose_body_changed_are_refused(raw, packed):
    x = np.ones((1, 5), np.int8)
    rest = {"scales": np.ones(3, F32), "bias": np.ones(3, F32), "Tout": tf.float32}
    assert raw.keras_int8nmt_mat_mul(x=x, packed=packed, **rest).shape == (1, 3)
    for byte in (64, 80, packed.shape[0] - 1):
        damaged = packed.numpy()
        damaged[byte] ^= 1
        for use in (
            lambda blob: raw.keras_int8nmt_mat_mul(x=x, packed=blob, **rest),
            lambda blob: raw.keras_int8nmt_unpack_weights(packed=blob),
        ):
            with pytest.raises(tf.errors.InvalidArgumentError, match="damaged after they were pa"):
                use(damaged)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("carry_sum", [False, True])
@pytest.mark.parametrize("at", ["x", "residual"])
def test_a_norm_tells_of_what_its_codes_would_hide(raw, at, carry_sum, value):
    inputs = {"x": np.ones((4, 6), F32), "residual": np.ones((4, 6), F32)}
    inputs |= {"gamma": np.ones(6, F32), "beta": np.ones(6, F32)}
    rest = {"epsilon": 1e-5, "carry_sum": carry_sum, "Tout": tf.int8}
    raw.keras_int8nmt_layer_norm(**inputs, **rest)
    inputs[at][2, 5] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or infinite values in row 2"):
        raw.keras_int8nmt_layer_norm(**inputs, **rest)


def test_float_weights_are_numbers(raw):
    weights = np.ones((3, 4), F32)
    weights[1, 2] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"weights has nan at \[1, 2\]"):
        raw.keras_int8nmt_pack_float(weights=weights)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"table": np.ones(4, np.int8)}, r"table has shape \[4\]; expected \[vocabulary"),
        ({"inv_scales": np.ones(3, F32)}, r"inv_scales has shape \[3\]; expected \[4\]"),
        ({"multiplier": float("nan")}, "multiplier is nan; expected a finite"),
    ],
)
def test_embedding(raw, changes, message):
    inputs = {"table": np.ones((4, 2), np.int8), "inv_scales": np.ones(4, F32)}
    refuses(raw, "embedding", inputs | {"indices": np.zeros(1, np.int32)}, changes, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": np.ones(5, F32)}, r"logits has shape \[5\]; expected \[rows, vocabulary\]"),
        ({"k": 0}, "k is 0; expected 1"),
        ({"k": 6}, "k is 6; expected 1 to 5"),
        ({"k": 5, "forbidden": 0}, "k is 5; expected 1 to 4"),
        ({"forbidden": 5}, "forbidden is 5; expected -1 for none, or 0 to 4"),
        ({"forbidden": -2}, "forbidden is -2; expected -1"),
        ({"logits": F32([[1, 2, np.nan, 3, 4]])}, "logits has a NaN"),
    ],
)
def test_top_k(raw, changes, message):
    refuses(raw, "top_k_log_probs", {"logits": np.ones((2, 5), F32), "k": 2}, changes, message)


# ---- no rows: no error, and nothing in the output


def test_empty_inputs_give_empty_outputs(raw, packed):
    for shape in [(0, 5), (2, 0, 5)]:
        y = call(raw, "mat_mul", {"packed": packed} | MATMUL, {"x": np.ones(shape, np.int8)})
        assert y.shape == (*shape[:-1], 3)
    none = np.zeros((0, 3), F32)
    assert call(raw, "quantize", {"Tout": tf.int8, "scale": 1.0}, {"x": none}).shape == (0, 3)
    assert call(raw, "dequantize", {"inv_scale": 1.0}, {"q": np.int8(none)}).shape == (0, 3)
    assert [t.shape for t in call(raw, "layer_norm", NORM, {"x": none})] == [(0, 3), (0, 3)]
    best = call(raw, "top_k_log_probs", {"k": 2}, {"logits": none})
    assert [t.shape for t in best] == [(0, 2), (0, 2)]
    table = {"table": np.ones((4, 2), np.int8), "inv_scales": np.ones(4, F32)}
    assert call(raw, "embedding", table, {"indices": np.zeros((0, 3), np.int32)}).shape == (0, 3, 2)
    nothing = {"x": np.ones((0, 2), np.int8), "indices": np.zeros(0, np.int32)}
    assert call(raw, "gather", nothing, {}).shape == (0, 2)


def test_empty_attention_and_cache(raw):
    no_rows = {"query": np.zeros((2, 0, 6), np.int8)}
    assert call(raw, "attention", ATTENTION, no_rows).shape == (2, 0, 8)
    no_batch = {
        "query": np.zeros((0, 2, 6), np.int8),
        "key": np.zeros((0, 5, 6), np.int8),
        "value": np.zeros((0, 5, 8), np.int8),
        "lengths": np.zeros(0, np.int32),
    }
    assert call(raw, "attention", ATTENTION, no_batch).shape == (0, 2, 8)
    no_keys = {
        "key": np.zeros((2, 0, 6), np.int8),
        "value": np.zeros((2, 0, 8), np.int8),
        "lengths": np.int32([0, 0]),
    }
    assert not call(raw, "attention", ATTENTION, no_keys).numpy().any()
    no_update = call(raw, "cache_append", APPEND, {"update": np.zeros((0, 3), np.int8)})
    np.testing.assert_array_equal(no_update, APPEND["cache"])
    no_batch = {"cache": np.zeros((0, 5, 3), np.int8), "update": np.zeros((0, 3), np.int8)}
    assert call(raw, "cache_append", APPEND, no_batch).shape == (0, 5, 3)
