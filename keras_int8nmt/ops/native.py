"""The ops of `functions` on the native library: same signatures as `stock`, arguments checked."""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorflow as tf

from keras_int8nmt.ops.attention_settings import AttentionSettings
from keras_int8nmt.ops.library import library


def _raw() -> Any:
    return library()


def pack_weights(weights: tf.Tensor) -> tf.Tensor:
    return _raw().keras_int8nmt_pack_weights(weights=weights)


def pack_float(weights: tf.Tensor) -> tf.Tensor:
    """float32 `[k, n]` as float products of the library read them."""
    return _raw().keras_int8nmt_pack_float(weights=weights)


def unpack_weights(packed: tf.Tensor) -> tf.Tensor:
    return _raw().keras_int8nmt_unpack_weights(packed=packed)


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
    return _raw().keras_int8nmt_mat_mul(
        x=x,
        packed=packed,
        scales=scales,
        bias=bias,
        Tout=tf.as_dtype(out_dtype),
        activation=activation,
        out_scale=out_scale,
        out_zero_point=out_zero_point,
    )


def dynamic_matmul(
    x: tf.Tensor, packed: tf.Tensor, scales: tf.Tensor, bias: tf.Tensor, activation: str
) -> tf.Tensor:
    return _raw().keras_int8nmt_dynamic_mat_mul(
        x=x, packed=packed, scales=scales, bias=bias, activation=activation
    )


def quantize(x: tf.Tensor, scale: float, zero_point: int, dtype: str) -> tf.Tensor:
    return _raw().keras_int8nmt_quantize(
        x=x, Tout=tf.as_dtype(dtype), scale=scale, zero_point=zero_point
    )


def dequantize(q: tf.Tensor, inv_scale: float, zero_point: int) -> tf.Tensor:
    return _raw().keras_int8nmt_dequantize(q=q, inv_scale=inv_scale, zero_point=zero_point)


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
    if residual is None:
        residual = tf.zeros((0,), tf.float32)
    carry, out = _raw().keras_int8nmt_layer_norm(
        x=x,
        residual=residual,
        gamma=gamma,
        beta=beta,
        epsilon=epsilon,
        carry_sum=carry_sum,
        Tout=tf.as_dtype(out_dtype),
        out_scale=out_scale,
        out_zero_point=out_zero_point,
        integer=integer,
    )
    return carry, out


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
    if mask is None:
        mask = tf.zeros((0,), tf.bool)
    if bias is None:
        attend = _raw().keras_int8nmt_attention
    else:
        attend = partial(_raw().keras_int8nmt_biased_attention, bias=bias)
    return attend(
        query=query,
        key=key,
        value=value,
        lengths=lengths,
        mask=mask,
        offset=offset,
        num_heads=settings.num_heads,
        head_dim=settings.head_dim,
        value_dim=settings.value_dim,
        scale=float(settings.scale),
        out_scale=float(settings.out_scale),
        out_zero_point=int(settings.out_zero_point),
        causal=bool(settings.causal),
        query_column=settings.query_column,
        key_column=settings.key_column,
        value_column=settings.value_column,
        integer_softmax=settings.softmax == "integer",
        Tout=tf.as_dtype(settings.out_dtype),
    )


def cache_append(cache: tf.Tensor, update: tf.Tensor, index: tf.Tensor, column: int) -> tf.Tensor:
    return _raw().keras_int8nmt_cache_append(cache=cache, update=update, index=index, column=column)


def int8_gather(x: tf.Tensor, indices: tf.Tensor, batch_dims: int) -> tf.Tensor:
    return _raw().keras_int8nmt_gather(x=x, indices=indices, batch_dims=batch_dims)


def embedding_lookup(
    table: tf.Tensor, inv_scales: tf.Tensor, indices: tf.Tensor, multiplier: float
) -> tf.Tensor:
    return _raw().keras_int8nmt_embedding(
        table=table, inv_scales=inv_scales, indices=indices, multiplier=multiplier
    )


def top_k_log_probs(logits: tf.Tensor, k: int, forbidden: int) -> tuple[tf.Tensor, tf.Tensor]:
    log_probs, ids = _raw().keras_int8nmt_top_k_log_probs(logits=logits, k=k, forbidden=forbidden)
    return log_probs, ids


def translate(
    source_ids: tf.Tensor, divisors: tf.Tensor, tensors: list[tf.Tensor], **attributes: Any
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    tokens, lengths, scores = _raw().keras_int8nmt_translate(
        source_ids=source_ids, divisors=divisors, tensors=tensors, **attributes
    )
    return tokens, lengths, scores
