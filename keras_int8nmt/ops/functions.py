"""One plain function per INT8 op: checks, then the native library or stock TensorFlow operations.

Both give the same integers for the same inputs; `translate` is in the library alone. The native
library is used when it is there and `KERAS_INT8NMT_NATIVE` is not "0". Wrong dtypes, ranks and
attributes raise TypeError or ValueError at once; what only the data tells (an index out of range,
lengths of two tensors that differ) raises `tf.errors.InvalidArgumentError` when the op runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt import native
from keras_int8nmt._arguments import MOST_INT32, whole
from keras_int8nmt.ops import stock as stock_ops
from keras_int8nmt.ops.attention_settings import AttentionSettings
from keras_int8nmt.ops.checks import as_matmul, as_tensor, check_output
from keras_int8nmt.ops.integer_rules import require_norm
from keras_int8nmt.ops.translate_op import translate as translate
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.runtime.gemm_choice import choose_gemm

_stock_alone = ContextVar("stock_alone", default=False)

_CODES = ("int8", "uint8")
# Of queries, keys and values: float32 where mixed precision leaves a product of attention float.
_HEADS = ("int8", "float32")


def native_available() -> bool:
    """Whether the ops run in the native library."""
    return native.functions() is not None


def native_info() -> dict[str, Any]:
    """What the ops run on: `native`, and of the native library its instruction set and GEMM."""
    return native.info()


def find_devices() -> None:
    """Makes TensorFlow look for devices, which it otherwise does when it is first used."""
    tf.config.list_physical_devices()


def set_num_threads(threads: int) -> None:
    """Threads that an op shares large work among; see `native.set_num_threads`.

    No effect on stock operations, which have TensorFlow's.
    """
    native.set_num_threads(threads)


@contextmanager
def stock_operations() -> Iterator[None]:
    """In this block and thread the ops are TensorFlow's own, though there is a native library.

    A graph that is traced in it needs no library where it runs. Packed weights of the one kind are
    not those of the other.
    """
    before = _stock_alone.set(True)
    try:
        yield
    finally:
        _stock_alone.reset(before)


def _backend() -> ModuleType:
    if _stock_alone.get() or native.functions() is None:
        return stock_ops
    from keras_int8nmt.ops import native as native_ops

    return native_ops


def pack_weights(weights: Any) -> tf.Tensor:
    """int8 weights in the layout that `int8_matmul` reads on this machine.

    Args:
        weights: int8 `[k, n]`.

    Returns:
        uint8 `[bytes]`, an opaque blob: good in this process only, never saved.
    """
    weights = as_tensor("weights", weights, ("int8",), rank=2)
    backend = _backend()
    if backend is not stock_ops and weights.shape.is_fully_defined():
        choose_gemm([(weights.shape[0], weights.shape[1])])
    return backend.pack_weights(weights)


def unpack_weights(packed: Any) -> tf.Tensor:
    """The int8 weights `[k, n]` of a blob that `pack_weights` made."""
    return _backend().unpack_weights(as_tensor("packed", packed, ("uint8",), rank=1))


def int8_matmul(
    x: Any,
    packed: Any,
    scales: Any,
    bias: Any,
    *,
    activation: str = "none",
    out_scale: float = 1.0,
    out_zero_point: int = 0,
    out_dtype: str = "float32",
) -> tf.Tensor:
    """`act(float(x @ weights) * scales + bias)`, as float32 or quantized.

    Args:
        x: int8 or uint8 codes `[..., k]`.
        packed: What `pack_weights` made of int8 `[k, n]`.
        scales: float32 `[n]`: the value of one step of the accumulator.
        bias: float32 `[n]`, with the zero point of `x` folded in (`quantization.fold_bias`).
        activation: "none", "relu", "gelu" (erf), "gelu_tanh" or "swish".
        out_scale, out_zero_point: For integer output: `clip(round(y * out_scale) + zero point)`.
        out_dtype: "float32", "int8" or "uint8".

    Returns:
        `[..., n]` of `out_dtype`.

    Example:

        >>> packed = pack_weights(tf.constant([[1, 2], [3, 4]], tf.int8))
        >>> int8_matmul(tf.constant([[1, 1]], tf.int8), packed, [0.5, 0.5], [0.0, 1.0])
        <tf.Tensor: shape=(1, 2), dtype=float32, numpy=array([[2., 4.]], dtype=float32)>
    """
    operands = as_matmul(x, _CODES, packed, scales, bias, activation)
    check_output(out_dtype, out_scale, out_zero_point)
    return _backend().int8_matmul(
        *operands, activation, float(out_scale), int(out_zero_point), out_dtype
    )


def dynamic_matmul(
    x: Any, packed: Any, scales: Any, bias: Any, *, activation: str = "none"
) -> tf.Tensor:
    """`act((float(codes @ weights) * scales) * inverse + bias)`: rows of `x` have own scales.

    Codes and inverses are those of `quantization.quantize_rows`, the result to the bit that of
    `quantization.dynamic_matmul`.

    Args:
        x: float32 `[..., k]`.
        packed: What `pack_weights` made of int8 `[k, n]`.
        scales: float32 `[n]`: the value of one step of each column's weights.
        bias: float32 `[n]`.
        activation: As in `int8_matmul`.

    Returns:
        float32 `[..., n]`.

    Example:

        >>> packed = pack_weights(tf.constant([[127], [0]], tf.int8))
        >>> dynamic_matmul(tf.constant([[2.0, 1.0]]), packed, [1 / 127], [1.0])
        <tf.Tensor: shape=(1, 1), dtype=float32, numpy=array([[3.]], dtype=float32)>
    """
    operands = as_matmul(x, ("float32",), packed, scales, bias, activation)
    return _backend().dynamic_matmul(*operands, activation)


def quantize(x: Any, scale: float, zero_point: int = 0, dtype: str = "int8") -> tf.Tensor:
    """`clip(round_half_even(x * scale) + zero_point)`; float32 `[...]` to int8 or uint8 `[...]`."""
    x = as_tensor("x", x, ("float32",))
    if dtype not in _CODES:
        raise ValueError(f"`dtype` must be one of {', '.join(_CODES)}; received {dtype!r}.")
    check_output(dtype, scale, zero_point)
    return _backend().quantize(x, float(scale), int(zero_point), dtype)


def dequantize(q: Any, scale: float, zero_point: int = 0) -> tf.Tensor:
    """`float(q - zero_point) * (1 / scale)`; int8 or uint8 `[...]` to float32 `[...]`."""
    q = as_tensor("q", q, _CODES)
    check_output(q.dtype.name, scale, zero_point)
    inverse = float(QuantParams(np.float32(scale), zero_point, q.dtype.name).inv_scale)
    return _backend().dequantize(q, inverse, int(zero_point))


def layer_norm(
    x: Any,
    gamma: Any,
    beta: Any,
    *,
    residual: Any = None,
    epsilon: float = 1e-5,
    carry: str = "norm",
    arithmetic: str = "float",
    out_scale: float = 1.0,
    out_zero_point: int = 0,
    out_dtype: str = "float32",
) -> tuple[tf.Tensor, tf.Tensor]:
    """LayerNorm of `x + residual` over the last axis, with the codes of its result.

    Args:
        x: float32 `[..., c]`.
        gamma, beta: float32 `[c]`.
        residual: float32, the shape of `x`, or None.
        epsilon: Added to the variance, at least 0.
        carry: "norm": the first result is the normalized value; "sum": it is `x + residual`.
        arithmetic: "float", or "integer" as in `integer_rules`, for `epsilon` of at most 1.
        out_scale, out_zero_point, out_dtype: How the second result is written.

    Returns:
        `(carry, out)`: float32 `[..., c]`, and the normalized value `[..., c]` as `out_dtype`.
    """
    x = as_tensor("x", x, ("float32",), min_rank=1)
    gamma = as_tensor("gamma", gamma, ("float32",), rank=1)
    beta = as_tensor("beta", beta, ("float32",), rank=1)
    if residual is not None:
        residual = as_tensor("residual", residual, ("float32",), rank=x.shape.rank)
    if carry not in ("norm", "sum"):
        raise ValueError(f'`carry` must be "norm" or "sum"; received {carry!r}.')
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise ValueError(f"`epsilon` must be finite and at least 0; received {epsilon!r}.")
    integer = require_norm(arithmetic, epsilon) == "integer"
    check_output(out_dtype, out_scale, out_zero_point)
    rule = float(out_scale), int(out_zero_point), out_dtype
    sums = carry == "sum"
    return _backend().layer_norm(x, gamma, beta, residual, float(epsilon), sums, *rule, integer)


def int8_attention(
    query: Any,
    key: Any,
    value: Any,
    lengths: Any,
    *,
    mask: Any = None,
    num_heads: int,
    head_dim: int,
    value_dim: int | None = None,
    scale: float,
    softmax: str = "float",
    out_scale: float = 1.0,
    out_zero_point: int = 0,
    out_dtype: str = "float32",
    causal: bool = False,
    offset: Any = 0,
    bias: Any = None,
    query_column: int = 0,
    key_column: int = 0,
    value_column: int = 0,
) -> tf.Tensor:
    """Multi-head attention over int8 queries, keys and values.

    score = float(q . k) * scale + bias, p = uint8 of softmax at the fixed scale 255, and the
    context is float(p . v) * out_scale, rounded to codes where `out_dtype` is an integer.

    Mixed precision: `query` and `key` may both be float32, and so may `value`; that product is then
    computed in float32, of float probabilities in the case of `value`. Such a call runs on stock
    operations.

    Args:
        query: int8 `[..., cq]`; its leading axes hold b * t rows, t of them for each of the b
            batches of keys.
        key, value: int8 `[b, s, ck]` and `[b, s, cv]`; with the column arguments all three may be
            one tensor, the output of a fused projection.
        lengths: int32 `[b]`: keys from there on are padding.
        mask: None, or bool `[b or 1, t or 1, s]`: which keys each query may attend to. A row with
            no allowed key has the context 0.
        num_heads, head_dim, value_dim: Heads lie side by side; `value_dim` is `head_dim` unless
            given.
        scale: Factor from dot products to scores.
        softmax: "float", or "integer" as in `integer_rules`.
        causal: Whether query t attends to keys up to `offset + t` only.
        offset: int32 scalar.
        bias: None, or what is added to the scores, finite float32
            `[b or 1, num_heads or 1, t or 1, s]`.
        query_column, key_column, value_column: First column of the heads in each tensor.

    Returns:
        `[..., num_heads * value_dim]` of `out_dtype`, leading axes as those of `query`.
    """
    settings = AttentionSettings(
        num_heads=num_heads,
        head_dim=head_dim,
        value_dim=head_dim if value_dim is None else value_dim,
        scale=scale,
        softmax=softmax,
        out_scale=out_scale,
        out_zero_point=out_zero_point,
        out_dtype=out_dtype,
        causal=causal,
        query_column=query_column,
        key_column=key_column,
        value_column=value_column,
    )
    return attention(query, key, value, lengths, settings, mask=mask, offset=offset, bias=bias)


def attention(
    query: Any,
    key: Any,
    value: Any,
    lengths: Any,
    settings: AttentionSettings,
    *,
    mask: Any = None,
    offset: Any = 0,
    bias: Any = None,
) -> tf.Tensor:
    """`int8_attention`, its numbers as one value."""
    query = as_tensor("query", query, _HEADS, min_rank=2)
    key = as_tensor("key", key, _HEADS, rank=3)
    if key.dtype != query.dtype:
        raise TypeError(
            f"`query` and `key` must be of one dtype; received {query.dtype.name} and "
            f"{key.dtype.name}."
        )
    value = as_tensor("value", value, _HEADS, rank=3)
    lengths = as_tensor("lengths", lengths, ("int32",), rank=1)
    if mask is not None:
        mask = as_tensor("mask", mask, ("bool",), rank=3)
    offset = as_tensor("offset", offset, ("int32",), rank=0)
    if bias is not None:
        bias = as_tensor("bias", bias, ("float32",), rank=4)
    for name, x in (("query", query), ("key", key), ("value", value)):
        settings.check_columns(name, x.shape[-1])
    all_int8 = query.dtype == value.dtype == tf.int8
    backend = _backend() if all_int8 else stock_ops
    context = backend.attention(query, key, value, lengths, mask, offset, settings, bias)
    context.set_shape([*query.shape[:-1], settings.num_heads * settings.value_dim])
    return context


def cache_append(cache: Any, update: Any, index: Any, *, column: int = 0) -> tf.Tensor:
    """The cache with new rows written at positions from `index` on.

    Args:
        cache: int8 `[b, capacity, c]`, whose buffer is reused where nothing else needs it; or
            float32, on stock operations.
        update: `[..., cu]` of the same dtype, whose leading axes hold b * t rows.
        index: int32 scalar; `index + t` must not exceed the capacity.
        column: First of the `c` columns of `update` that are written.

    Returns:
        `[b, capacity, c]` of the dtype of `cache`.
    """
    cache = as_tensor("cache", cache, _HEADS, rank=3)
    update = as_tensor("update", update, (cache.dtype.name,), min_rank=2)
    index = as_tensor("index", index, ("int32",), rank=0)
    width, c = update.shape[-1], cache.shape[-1]
    column = whole("column", column, -MOST_INT32, MOST_INT32)
    if column < 0 or (None not in (width, c) and column + c > width):
        raise ValueError(f"`update` has {width} columns; {c} from column {column} on do not fit.")
    backend = _backend() if cache.dtype == tf.int8 else stock_ops
    appended = backend.cache_append(cache, update, index, column)
    appended.set_shape(cache.shape)
    return appended


def int8_gather(x: Any, indices: Any, batch_dims: int = 0) -> tf.Tensor:
    """Rows of `x` by `indices`, as `tf.gather(x, indices, axis=batch_dims, batch_dims=batch_dims)`.

    It copies bytes and never dequantizes (arXiv 1906.00532, section 5.3): beams reorder their int8
    caches by it.

    Args:
        x: int8, uint8, int32 or float32, `[batch..., n, ...]`.
        indices: int32 or int64 `[batch..., ...]`, each in `[0, n)`.
        batch_dims: Leading axes that `x` and `indices` share.

    Returns:
        `[batch..., indices..., ...]` of the dtype of `x`.
    """
    x = as_tensor("x", x, ("int8", "uint8", "int32", "float32"), min_rank=1)
    indices = as_tensor("indices", indices, ("int32", "int64"))
    limit = min(x.shape.rank - 1, indices.shape.rank)
    batch_dims = whole("batch_dims", batch_dims, -MOST_INT32, MOST_INT32)
    if not 0 <= batch_dims <= limit:
        raise ValueError(
            f"`batch_dims` must be in [0, {limit}] for `x` of rank {x.shape.rank} and `indices` of "
            f"rank {indices.shape.rank}; received {batch_dims}."
        )
    rows = _backend().int8_gather(x, indices, batch_dims)
    rows.set_shape([*indices.shape, *x.shape[batch_dims + 1 :]])
    return rows


def embedding_lookup(
    table: Any, inv_scales: Any, indices: Any, *, multiplier: float = 1.0
) -> tf.Tensor:
    """`(float(table[i]) * inv_scales[i]) * multiplier` for each index.

    Args:
        table: int8 `[v, c]`.
        inv_scales: float32 `[v]`: the value of one step of each row.
        indices: int32 `[...]`, each in `[0, v)`.
        multiplier: Factor for every value.

    Returns:
        float32 `[..., c]`.
    """
    table = as_tensor("table", table, ("int8",), rank=2)
    inv_scales = as_tensor("inv_scales", inv_scales, ("float32",), rank=1)
    indices = as_tensor("indices", indices, ("int32",))
    return _backend().embedding_lookup(table, inv_scales, indices, float(multiplier))


def top_k_log_probs(logits: Any, k: int, *, forbidden: int = -1) -> tuple[tf.Tensor, tf.Tensor]:
    """The `k` best ids of each row by log-probability, best first; ties go to the lower id.

    Args:
        logits: float32 `[rows, v]`. NaN is an error.
        k: How many, at most v (v - 1 with a forbidden id).
        forbidden: An id that is never returned, though it counts in the normalization; -1: none.

    Returns:
        `(log_probs, ids)`: float32 and int32 `[rows, k]`.
    """
    logits = as_tensor("logits", logits, ("float32",), rank=2)
    columns = logits.shape[1]
    k = whole("k", k, -MOST_INT32, MOST_INT32)
    forbidden = whole("forbidden", forbidden, -MOST_INT32, MOST_INT32)
    if columns is not None:
        if not -1 <= forbidden < columns:
            raise ValueError(f"`forbidden` must be -1 or an id below {columns}; it is {forbidden}.")
        limit = columns - (forbidden >= 0)
        if not 1 <= k <= limit:
            raise ValueError(f"`k` must be in [1, {limit}] for these logits; received {k}.")
    log_probs, ids = _backend().top_k_log_probs(logits, k, forbidden)
    for result in (log_probs, ids):
        result.set_shape([logits.shape[0], k])
    return log_probs, ids
