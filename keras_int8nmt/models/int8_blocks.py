"""Transformer blocks on INT8 products: codes go from layer to layer, the residual stream is float.

A block takes and gives a pair: the residual stream (float32) and the codes that the next product
reads, or float32 again where that product is float (mixed precision) or finds a scale for each row
by itself (dynamic scales). One class serves post-norm and pre-norm models, because each norm is
seen as the end of the sub-layer before it:

    post-norm   carry = norm(sublayer + carry)           codes = quantize(carry)
    pre-norm    carry = sublayer + carry                 codes = quantize(norm(carry))

so that in a pre-norm model the last norm of a block is the first norm of the next one.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_int8nmt.layers.inference.dynamic_attention import DynamicAttention
from keras_int8nmt.layers.inference.dynamic_dense import DynamicDense
from keras_int8nmt.layers.inference.float_dense import FloatDense
from keras_int8nmt.layers.inference.frozen_layer import FrozenLayer
from keras_int8nmt.layers.inference.int8_attention import Int8Attention
from keras_int8nmt.layers.inference.int8_dense import Int8Dense
from keras_int8nmt.layers.inference.mixed_attention import MixedAttention
from keras_int8nmt.layers.inference.residual_norm import ResidualNorm
from keras_int8nmt.models.spec import block_part
from keras_int8nmt.runtime.model_spec import Part

Pair = tuple[tf.Tensor, tf.Tensor]
Cache = tuple[tf.Tensor, tf.Tensor]
# A layer is INT8 unless a policy of `convert` left it, or a part of it, float.
Attention = Int8Attention | MixedAttention | DynamicAttention
Dense = Int8Dense | DynamicDense | FloatDense


class _Block(FrozenLayer):
    """Holds its sub-layers by name, so that `get_config` and `from_config` are one loop."""

    attentions: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    ffn_in: Dense
    ffn_out: Dense
    ffn_norm: ResidualNorm

    def __init__(self, *, parts: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in self.parts:
            part = parts[name]
            if isinstance(part, dict):
                part = keras.saving.deserialize_keras_object(part)
            setattr(self, name, part)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["parts"] = {
            name: keras.saving.serialize_keras_object(getattr(self, name)) for name in self.parts
        }
        return config

    @property
    def precisions(self) -> set[str]:
        """The precisions that its MatMuls have."""
        parts = [self.ffn_in, self.ffn_out, *(getattr(self, name) for name in self.attentions)]
        return {precision for part in parts for precision in part.precisions}

    def spec(self, packed: bool) -> Part:
        """Its part of a `ModelSpec`."""
        norms = [getattr(self, f"{name}_norm") for name in self.attentions]
        return block_part(
            [getattr(self, name).spec(packed) for name in self.attentions],
            (self.ffn_in.spec(packed), self.ffn_out.spec(packed)),
            [norm.spec() for norm in (*norms, self.ffn_norm)],
        )

    def feed_forward(self, carry: tf.Tensor, codes: tf.Tensor) -> Pair:
        return self.ffn_norm(self.ffn_out(self.ffn_in(codes)), carry)


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Int8EncoderBlock(_Block):
    """Self-attention and feed-forward over `(carry, codes)`, both `[b, s, d]`."""

    attentions = ("attention",)
    parts = ("attention", "attention_norm", "ffn_in", "ffn_out", "ffn_norm")
    attention: Attention
    attention_norm: ResidualNorm

    def call(self, carry: tf.Tensor, codes: tf.Tensor, key_lengths: tf.Tensor) -> Pair:
        attended = self.attention(codes, codes, key_lengths=key_lengths)
        carry, codes = self.attention_norm(attended, carry)
        return self.feed_forward(carry, codes)


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Int8DecoderBlock(_Block):
    """Self-attention, cross-attention and feed-forward over `(carry, codes)`.

    The cross cache (keys and values of the encoded source) is computed once a sentence; the rows
    of all its beams read it.
    """

    attentions = ("self_attention", "cross_attention")
    parts = (
        "self_attention",
        "self_attention_norm",
        "cross_attention",
        "cross_attention_norm",
        "ffn_in",
        "ffn_out",
        "ffn_norm",
    )
    self_attention: Attention
    self_attention_norm: ResidualNorm
    cross_attention: Attention
    cross_attention_norm: ResidualNorm

    def call(
        self,
        carry: tf.Tensor,
        codes: tf.Tensor,
        cross_cache: Cache,
        source_lengths: tf.Tensor,
        *,
        self_cache: Cache | None = None,
        cache_index: Any = None,
        cache_lengths: tf.Tensor | None = None,
    ) -> Any:
        """All positions at once (`[b, t, d]`), or one step of `[b, beam, d]` with `self_cache`."""
        attended = self.self_attention(
            codes,
            codes,
            use_causal_mask=True,
            cache=self_cache,
            cache_index=cache_index,
            key_lengths=cache_lengths,
        )
        if self_cache is not None:
            attended, self_cache = attended
        carry, codes = self.self_attention_norm(attended, carry)
        attended, _ = self.cross_attention(
            codes, codes, cache=cross_cache, key_lengths=source_lengths
        )
        carry, codes = self.cross_attention_norm(attended, carry)
        carry, codes = self.feed_forward(carry, codes)
        return (carry, codes) if self_cache is None else (carry, codes, self_cache)
