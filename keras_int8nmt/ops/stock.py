"""The ops of `functions` on TensorFlow's own operations, for machines without the native library.

Same integers for the same inputs as the native library; slower. Integer products run as float32
products of at most 512 terms, whose sums are below 2^24 and therefore exact. Sums of floats run as
16 partial sums and one tree (`_sum16`), as everywhere, so that padding and batches change no code.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_int8nmt.ops.attention_settings import AttentionSettings
from keras_int8nmt.ops.stock_integer import integer_normal, integer_powers
from keras_int8nmt.quantization import CODE_RANGE, LEAST_ROW_MAXIMUM

# 512 * 255 * 127 < 2^24: sums of so many products of codes are exact in float32.
_EXACT_TERMS = 512
# Columns whose exponentials are summed together (kLogSumChunk of the native kernels).
_LOG_SUM_CHUNK = 512

# A blob is a header of 64 bytes (this text, k, n) and the weights as float32: converting them in
# each product would take longer than the product. Slices at multiples of 64 bytes are not copied.
_MAGIC = b"keras-int8nmt-stock-1".ljust(24, b"\0")
_HEADER = 64


def pack_weights(weights: tf.Tensor) -> tf.Tensor:
    shape = tf.bitcast(tf.cast(tf.shape(weights), tf.int64), tf.uint8)
    header = tf.concat(
        [
            np.frombuffer(_MAGIC, np.uint8),
            tf.reshape(shape, (16,)),
            tf.zeros((_HEADER - len(_MAGIC) - 16,), tf.uint8),
        ],
        0,
    )
    body = tf.bitcast(tf.cast(weights, tf.float32), tf.uint8)
    return tf.concat([header, tf.reshape(body, (-1,))], 0)


def _unpacked(packed: tf.Tensor) -> tf.Tensor:
    """float32 `[k, n]`; fails on a blob that is not ours."""
    if packed.shape[0] is not None and packed.shape[0] < _HEADER:
        raise ValueError(f"`packed` is no packed weight: it has {packed.shape[0]} bytes.")
    if tf.executing_eagerly() and bytes(packed[: len(_MAGIC)].numpy()) != _MAGIC:
        raise ValueError(
            "`packed` was not made by pack_weights on stock TensorFlow operations, which are in "
            "force now."
        )
    shape = tf.bitcast(tf.reshape(packed[24:40], (2, 8)), tf.int64)
    weights = tf.bitcast(tf.reshape(packed[_HEADER:], (-1, 4)), tf.float32)
    return tf.reshape(weights, shape)


def unpack_weights(packed: tf.Tensor) -> tf.Tensor:
    return tf.cast(_unpacked(packed), tf.int8)


def int8_matmul(
    x: tf.Tensor,
    packed: tf.Tensor,
    scales: tf.Tensor,
    bias: tf.Tensor,
    activation: str,
    out_scale: float,
    out_zero_point: int,
    out_dtype: str,
) -> tf.Tensor:
    y = _scaled_sums(x, packed, scales, bias)
    y = _ACTIVATIONS[activation](_kept(y + bias))
    return _as_rows_of(x, _written(y, out_scale, out_zero_point, out_dtype))


def dynamic_matmul(
    x: tf.Tensor, packed: tf.Tensor, scales: tf.Tensor, bias: tf.Tensor, activation: str
) -> tf.Tensor:
    # As whole numbers: these have the order of the magnitudes, with NaN above all of them.
    magnitudes = tf.bitwise.bitwise_and(tf.bitcast(x, tf.int32), 0x7FFFFFFF)
    largest = tf.reduce_max(magnitudes, axis=-1, keepdims=True)
    finite = largest < 0x7F800000
    largest = tf.bitcast(tf.where(finite, largest, 0), tf.float32)
    usable = largest > LEAST_ROW_MAXIMUM
    # Where there is no scale the largest value stands for 127, and the scale is 1.
    scale = 127.0 / tf.where(usable, largest, 127.0)
    codes = quantize(x, scale, 0, "int8")
    y = _kept(_scaled_sums(codes, packed, scales, bias))
    inverse = tf.reshape(_inverse(scale), (-1, 1))
    y = tf.where(tf.reshape(finite, (-1, 1)), _kept(y * inverse) + bias, np.nan)
    return _as_rows_of(x, _ACTIVATIONS[activation](y))


def _as_rows_of(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """`y` `[rows, n]` with the leading axes of `x`."""
    n = y.shape[-1]
    # Where weights come as a graph's inputs, only the graph knows their columns.
    y = tf.reshape(y, tf.concat([tf.shape(x)[:-1], tf.shape(y)[-1:]], 0))
    y.set_shape([*x.shape[:-1], n])
    return y


def _scaled_sums(x: tf.Tensor, packed: tf.Tensor, scales: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """`float(x @ weights) * scales`, `[rows, n]`; checks the shapes, that of `bias` too."""
    n, size = scales.shape[0], packed.shape[0]
    k = x.shape[-1]
    if None in (n, size):
        raise ValueError("`scales` and `packed` must have known shapes.")
    if not bias.shape.is_compatible_with(scales.shape):
        raise ValueError(
            f"`bias` must have the shape of `scales`, {scales.shape}; it has shape {bias.shape}."
        )
    if k is None:
        k = (size - _HEADER) // (4 * n) if n else 0
    if size != _HEADER + 4 * k * n:
        raise ValueError(
            f"`packed` must hold weights of {k} rows (the last axis of `x`) and {n} columns (the "
            f"length of `scales`); it has {size} bytes, expected {_HEADER + 4 * k * n}."
        )
    weights = _unpacked(packed)
    weights.set_shape((k, n))
    rows = tf.cast(tf.reshape(x, (-1, k)), tf.float32)
    acc = tf.zeros((tf.shape(rows)[0], n), tf.int32)
    for first in range(0, k, _EXACT_TERMS):
        part = slice(first, first + _EXACT_TERMS)
        acc += tf.cast(tf.matmul(rows[:, part], weights[part]), tf.int32)
    return tf.cast(acc, tf.float32) * scales


def quantize(x: tf.Tensor, scale: float | tf.Tensor, zero_point: int, dtype: str) -> tf.Tensor:
    low, high = CODE_RANGE[dtype]
    v = tf.round(x * scale) + float(zero_point)
    # In this order NaN gives the lowest code.
    v = tf.where(v > low, v, float(low))
    return tf.cast(tf.where(v < high, v, float(high)), dtype)


def dequantize(q: tf.Tensor, inv_scale: float, zero_point: int) -> tf.Tensor:
    return tf.cast(tf.cast(q, tf.int32) - zero_point, tf.float32) * inv_scale


def _written(y: tf.Tensor, scale: float, zero_point: int, dtype: str) -> tf.Tensor:
    return y if dtype == "float32" else quantize(y, scale, zero_point, dtype)


def layer_norm(
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    residual: tf.Tensor | None,
    epsilon: float,
    carry_sum: bool,
    out_scale: float,
    out_zero_point: int,
    out_dtype: str,
    integer: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    for name, vector in (("gamma", gamma), ("beta", beta)):
        if not vector.shape.is_compatible_with(x.shape[-1:]):
            raise ValueError(
                f"`{name}` must have shape {x.shape[-1:]}; it has shape {vector.shape}."
            )
    if residual is not None:
        if not residual.shape.is_compatible_with(x.shape):
            raise ValueError(
                f"`residual` must have the shape of `x`, {x.shape}; it has shape {residual.shape}."
            )
        x = _kept(x + residual)
    if not integer:
        # Codes have no NaN, so that it would be lost below.
        x = tf.debugging.check_numerics(x, "x or residual has NaN or infinite values")
    normal = integer_normal(x, epsilon) if integer else _normal(x, epsilon)
    y = _kept(_kept(normal) * gamma + beta)
    return x if carry_sum else y, _written(y, out_scale, out_zero_point, out_dtype)


def _normal(x: tf.Tensor, epsilon: float) -> tf.Tensor:
    columns = tf.cast(tf.shape(x)[-1], tf.float32)
    mean = _sum16(x) / columns
    deviation = x - mean
    variance = _sum16(deviation * deviation) / columns
    # The root in float64, rounded once, is the root in float32. TensorFlow's optimizer would make
    # one approximate operation of a division by a root.
    root = tf.cast(tf.sqrt(tf.cast(variance + epsilon, tf.float64)), tf.float32)
    return deviation * _inverse(root)


def attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    lengths: tf.Tensor,
    mask: tf.Tensor | None,
    offset: tf.Tensor,
    settings: AttentionSettings,
    bias: tf.Tensor | None = None,
) -> tf.Tensor:
    batch, keys = tf.shape(key)[0], tf.shape(key)[1]
    leading = tf.shape(query)[:-1]
    rows = tf.reduce_prod(leading) // tf.maximum(batch, 1)
    num_heads = settings.num_heads

    def heads(x: tf.Tensor, column: int, dim: int, length: tf.Tensor) -> tf.Tensor:
        x = x[..., column : column + num_heads * dim]
        return tf.cast(tf.reshape(x, (batch, length, num_heads, dim)), tf.float32)

    q = heads(query, settings.query_column, settings.head_dim, rows)
    k = heads(key, settings.key_column, settings.head_dim, keys)
    v = heads(value, settings.value_column, settings.value_dim, keys)
    positions = tf.range(keys)
    allowed = (positions[None, :] < lengths[:, None])[:, None, :]
    if settings.causal:
        allowed = tf.logical_and(
            allowed, (positions[None, :] <= offset + tf.range(rows)[:, None])[None]
        )
    if mask is not None:
        allowed = tf.logical_and(allowed, mask)
    allowed = allowed[:, None]
    # Dot products of up to 1040 codes are below 2^24, hence exact.
    scores = tf.einsum("btnh,bsnh->bnts", q, k) * float(settings.scale)
    if bias is not None:
        scores = _kept(_kept(scores) + bias)
    largest = tf.reduce_max(tf.where(allowed, scores, scores.dtype.min), axis=-1, keepdims=True)
    if settings.softmax == "integer":
        powers, total = integer_powers(scores, largest, allowed)
    else:
        powers = tf.where(allowed, _exp(scores - largest), 0.0)
        total = _sum16(powers)
    if value.dtype == tf.int8:
        probabilities = tf.round(powers * tf.math.divide_no_nan(255.0, total))
    else:
        probabilities = powers * tf.math.divide_no_nan(1.0, total)
    y = tf.einsum("bnts,bsnh->btnh", probabilities, v) * float(settings.out_scale)
    if settings.out_dtype != "float32":
        y = quantize(y, 1.0, int(settings.out_zero_point), settings.out_dtype)
    return tf.reshape(y, tf.concat([leading, [num_heads * settings.value_dim]], 0))


def cache_append(cache: tf.Tensor, update: tf.Tensor, index: tf.Tensor, column: int) -> tf.Tensor:
    batch, columns = tf.shape(cache)[0], tf.shape(cache)[2]
    update = update[..., column : column + columns]
    update = tf.reshape(update, (batch, -1, columns))
    positions = index + tf.range(tf.shape(update)[1])
    rows = tf.repeat(tf.range(batch), tf.size(positions))
    where = tf.stack([rows, tf.tile(positions, [batch])], axis=1)
    # It checks the positions: one past the capacity is an error.
    return tf.tensor_scatter_nd_update(cache, where, tf.reshape(update, (-1, columns)))


def int8_gather(x: tf.Tensor, indices: tf.Tensor, batch_dims: int) -> tf.Tensor:
    return tf.gather(x, indices, axis=batch_dims, batch_dims=batch_dims)


def embedding_lookup(
    table: tf.Tensor, inv_scales: tf.Tensor, indices: tf.Tensor, multiplier: float
) -> tf.Tensor:
    rows = tf.cast(tf.gather(table, indices), tf.float32)
    return _kept(rows * tf.gather(inv_scales, indices)[..., None]) * multiplier


def top_k_log_probs(logits: tf.Tensor, k: int, forbidden: int) -> tuple[tf.Tensor, tf.Tensor]:
    log_sum = tf.debugging.check_numerics(_log_sum(logits), "`logits` has NaN or infinite values")
    if forbidden >= 0:
        ids = tf.range(tf.shape(logits)[1])
        logits = tf.where(ids[None, :] == forbidden, -np.inf, logits)
    best, ids = tf.math.top_k(logits, k)
    return best - log_sum, ids


def _log_sum(logits: tf.Tensor) -> tf.Tensor:
    """log-sum-exp of each row, `[rows, 1]`, chunk by chunk as the native kernel does it."""
    rows, columns = tf.unstack(tf.shape(logits))
    padded = tf.pad(logits, [[0, 0], [0, -columns % _LOG_SUM_CHUNK]], constant_values=-np.inf)
    chunks = tf.reshape(padded, [rows, -1, _LOG_SUM_CHUNK])
    maxima = tf.reduce_max(chunks, axis=-1, keepdims=True)
    # What pads the last chunk counts exp(-87), which no sum that starts with 1 can see.
    sums = _sum16(_exp(chunks - maxima))
    largest = tf.reduce_max(maxima, axis=1, keepdims=True)
    factors = tf.cast(_exp(maxima - largest), tf.float64)
    total = tf.reduce_sum(tf.cast(sums, tf.float64) * factors, axis=1)
    return largest[:, 0] + tf.cast(tf.math.log(total), tf.float32)


# ---- sums and activations, in the float steps of the native kernels ----


def _kept(x: tf.Tensor) -> tf.Tensor:
    """`x`, by an operation that TensorFlow's optimizer leaves between two products or two sums.

    It would regroup `(a * b) * c` and `(a + b) + c`, and round in other places.
    """
    return tf.maximum(x, x.dtype.min)


def _inverse(x: tf.Tensor) -> tf.Tensor:
    """1 / x, rounded once: a division of one would become an approximate reciprocal."""
    return 2.0 / (x + x)


def _sum16(x: tf.Tensor) -> tf.Tensor:
    """Sums over the last axis: 16 partial sums by index mod 16, then a tree; `[..., 1]`.

    By `unsorted_segment_sum`, which adds one row after the other: `tf.reduce_sum` has an order of
    its own for each shape, and TensorFlow's optimizer rearranges sums that are written out.
    """
    shape = tf.shape(x)
    x = tf.pad(x, [[0, 0]] * (x.shape.rank - 1) + [[0, -shape[-1] % 16]])
    blocks = tf.transpose(tf.reshape(x, (tf.reduce_prod(shape[:-1]), -1, 16)), (1, 0, 2))
    parts = tf.math.unsorted_segment_sum(blocks, tf.zeros_like(blocks[:, 0, 0], tf.int32), 1)[0]
    for half in (8, 4, 2, 1):
        parts = parts[:, :half] + parts[:, half:]
    return tf.reshape(parts, tf.concat([shape[:-1], [1]], 0))


def _exp(x: tf.Tensor) -> tf.Tensor:
    """exp by range reduction and a polynomial (Cephes): the same float steps everywhere."""
    x = tf.clip_by_value(x, -87.0, 88.0)
    n = tf.round(x * 1.44269504)
    r = x - n * 0.693359375
    r = r - n * -2.12194440e-4
    p = tf.fill(tf.shape(r), 1.9875691500e-4)
    for coefficient in (
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    ):
        p = p * r + coefficient
    y = (p * (r * r) + r) + 1.0
    power = tf.bitcast(tf.bitwise.left_shift(tf.cast(n, tf.int32) + 127, 23), tf.float32)
    return y * power


def _erf(x: tf.Tensor) -> tf.Tensor:
    """Abramowitz and Stegun 7.1.26."""
    magnitude = tf.abs(x)
    t = _inverse(1.0 + 0.3275911 * magnitude)
    p = tf.fill(tf.shape(t), 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        p = p * t + coefficient
    y = 1.0 - (p * t) * _exp(-(x * x))
    return tf.where(x < 0, -y, y)


def _tanh(x: tf.Tensor) -> tf.Tensor:
    magnitude = tf.abs(x)
    large = 1.0 - 2.0 / (_exp(2.0 * magnitude) + 1.0)
    large = tf.where(x < 0, -large, large)
    z = x * x
    p = tf.fill(tf.shape(z), -5.70498872745e-3)
    for coefficient in (2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1):
        p = p * z + coefficient
    return tf.where(magnitude >= 0.625, large, (p * z) * x + x)


def _gelu(x: tf.Tensor) -> tf.Tensor:
    return (0.5 * x) * (1.0 + _erf(x * 0.70710678))


def _gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    return (0.5 * x) * (1.0 + _tanh(0.79788456 * (x + _kept(_kept(0.044715 * x) * x) * x)))


_ACTIVATIONS = {
    "none": tf.identity,
    "relu": lambda x: tf.where(x > 0, x, 0.0),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "swish": lambda x: x / (1.0 + _exp(-x)),
}
