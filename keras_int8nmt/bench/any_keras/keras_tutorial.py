"""A translation Transformer built as Keras' tutorial teaches: layers of one's own, two models."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_int8nmt.bench.any_keras.subject import Subject, tokens


class Positions(layers.Layer):
    """Token and position, each with a learned vector."""

    def __init__(self, length: int, vocabulary: int, width: int) -> None:
        super().__init__()
        self.token_embeddings = layers.Embedding(vocabulary, width)
        self.position_embeddings = layers.Embedding(length, width)

    def call(self, ids: Any) -> Any:
        places = ops.arange(0, ops.shape(ids)[-1], 1)
        return self.token_embeddings(ids) + self.position_embeddings(places)

    def compute_mask(self, ids: Any, mask: Any = None) -> Any:
        return ops.not_equal(ids, 0)


class EncoderBlock(layers.Layer):
    """Attention among source tokens, then two Dense layers."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.attention = layers.MultiHeadAttention(num_heads=heads, key_dim=width)
        self.dense = keras.Sequential(
            [layers.Dense(hidden, activation="relu"), layers.Dense(width)]
        )
        self.norms = [layers.LayerNormalization() for _ in range(2)]
        self.supports_masking = True

    def call(self, x: Any, mask: Any = None) -> Any:
        pairs = None if mask is None else ops.cast(mask[:, None, :], "int32")
        x = self.norms[0](x + self.attention(query=x, value=x, key=x, attention_mask=pairs))
        return self.norms[1](x + self.dense(x))


class DecoderBlock(layers.Layer):
    """Causal attention, attention to the source, then two Dense layers."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.to_itself = layers.MultiHeadAttention(num_heads=heads, key_dim=width)
        self.to_source = layers.MultiHeadAttention(num_heads=heads, key_dim=width)
        self.dense = keras.Sequential(
            [layers.Dense(hidden, activation="relu"), layers.Dense(width)]
        )
        self.norms = [layers.LayerNormalization() for _ in range(3)]
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        x, source = inputs
        own, of_source = (None, None) if mask is None else mask
        length = ops.shape(x)[1]
        causal = ops.arange(length)[:, None] >= ops.arange(length)[None]
        attended = self.to_itself(
            query=x, value=x, key=x, attention_mask=causal[None], query_mask=own
        )
        x = self.norms[0](x + attended)
        attended = self.to_source(
            query=x, value=source, key=source, query_mask=own, key_mask=of_source
        )
        x = self.norms[1](x + attended)
        return self.norms[2](x + self.dense(x))


def keras_tutorial(
    vocabulary: int = 15000, length: int = 20, width: int = 256, hidden: int = 2048, heads: int = 8
) -> Subject:
    """One block each side, of the tutorial's sizes; the decoder is a model inside the model."""
    source = keras.Input((None,), dtype="int64", name="encoder_inputs")
    encoded = EncoderBlock(width, hidden, heads)(Positions(length, vocabulary, width)(source))
    target = keras.Input((None,), dtype="int64", name="decoder_inputs")
    states = keras.Input((None, width), name="decoder_state_inputs")
    x = Positions(length, vocabulary, width)(target)
    x = layers.Dropout(0.5)(DecoderBlock(width, hidden, heads)([x, states]))
    decoder = keras.Model([target, states], layers.Dense(vocabulary, activation="softmax")(x))
    model = keras.Model(
        {"encoder_inputs": source, "decoder_inputs": target}, decoder([target, encoded])
    )

    def inputs(batch: int, rng: np.random.Generator) -> Any:
        names = ("encoder_inputs", "decoder_inputs")
        return {name: tokens(rng, batch, length, vocabulary).astype(np.int64) for name in names}

    return Subject(model, inputs)
