"""A translation Transformer built as TensorFlow's tutorial teaches: everything is a subclass."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_int8nmt.bench.any_keras.subject import Subject, tokens


def _waves(length: int, width: int) -> tf.Tensor:
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(width // 2) / (width / 2))
    return tf.constant(np.concatenate([np.sin(angles), np.cos(angles)], axis=-1), tf.float32)


class PositionalEmbedding(layers.Layer):
    """A table, scaled, and waves that tell the place."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.embedding = layers.Embedding(vocabulary, width, mask_zero=True)
        self.waves = _waves(512, width)

    def compute_mask(self, *args: Any, **kwargs: Any) -> Any:
        return self.embedding.compute_mask(*args, **kwargs)

    def call(self, ids: Any) -> Any:
        x = self.embedding(ids) * tf.math.sqrt(tf.cast(self.width, tf.float32))
        return x + self.waves[tf.newaxis, : tf.shape(ids)[1]]


class BaseAttention(layers.Layer):
    """What the three kinds of attention have in common."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.mha = layers.MultiHeadAttention(**settings)
        self.norm, self.add = layers.LayerNormalization(), layers.Add()


class SelfAttention(BaseAttention):
    """Of the encoder."""

    def call(self, x: Any) -> Any:
        return self.norm(self.add([x, self.mha(query=x, value=x, key=x)]))


class CausalAttention(BaseAttention):
    """Of the decoder to what it has written."""

    def call(self, x: Any) -> Any:
        attended = self.mha(query=x, value=x, key=x, use_causal_mask=True)
        return self.norm(self.add([x, attended]))


class CrossAttention(BaseAttention):
    """Of the decoder to the source."""

    def call(self, x: Any, context: Any) -> Any:
        return self.norm(self.add([x, self.mha(query=x, key=context, value=context)]))


class FeedForward(layers.Layer):
    """Two Dense layers around a ReLU."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.seq = keras.Sequential(
            [layers.Dense(hidden, "relu"), layers.Dense(width), layers.Dropout(dropout)]
        )
        self.norm, self.add = layers.LayerNormalization(), layers.Add()

    def call(self, x: Any) -> Any:
        return self.norm(self.add([x, self.seq(x)]))


class EncoderLayer(layers.Layer):
    """Attention and Dense layers."""

    def __init__(self, width: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(num_heads=heads, key_dim=width, dropout=dropout)
        self.ffn = FeedForward(width, hidden, dropout)

    def call(self, x: Any) -> Any:
        return self.ffn(self.attention(x))


class DecoderLayer(layers.Layer):
    """The same with attention to the source between."""

    def __init__(self, width: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.causal = CausalAttention(num_heads=heads, key_dim=width, dropout=dropout)
        self.cross = CrossAttention(num_heads=heads, key_dim=width, dropout=dropout)
        self.ffn = FeedForward(width, hidden, dropout)

    def call(self, x: Any, context: Any) -> Any:
        return self.ffn(self.cross(self.causal(x), context))


class Encoder(layers.Layer):
    """Embedding and a list of layers."""

    def __init__(self, vocabulary: int, depth: int, width: int, **settings: Any) -> None:
        super().__init__()
        self.embedding = PositionalEmbedding(vocabulary, width)
        self.blocks = [EncoderLayer(width, **settings) for _ in range(depth)]
        self.dropout = layers.Dropout(settings["dropout"])

    def call(self, x: Any) -> Any:
        x = self.dropout(self.embedding(x))
        for block in self.blocks:
            x = block(x)
        return x


class Decoder(layers.Layer):
    """Likewise, over the encoder's output."""

    def __init__(self, vocabulary: int, depth: int, width: int, **settings: Any) -> None:
        super().__init__()
        self.embedding = PositionalEmbedding(vocabulary, width)
        self.blocks = [DecoderLayer(width, **settings) for _ in range(depth)]
        self.dropout = layers.Dropout(settings["dropout"])

    def call(self, x: Any, context: Any) -> Any:
        x = self.dropout(self.embedding(x))
        for block in self.blocks:
            x = block(x, context)
        return x


class Transformer(keras.Model):
    """Source and target ids in, logits out."""

    def __init__(self, vocabulary: int, **settings: Any) -> None:
        super().__init__()
        self.encoder = Encoder(vocabulary, **settings)
        self.decoder = Decoder(vocabulary, **settings)
        self.final = layers.Dense(vocabulary)

    def call(self, inputs: Any) -> Any:
        context, x = inputs
        return self.final(self.decoder(x, self.encoder(context)))


def tensorflow_tutorial(
    vocabulary: int = 8000,
    length: int = 64,
    depth: int = 4,
    width: int = 128,
    hidden: int = 512,
    heads: int = 8,
) -> Subject:
    """A subclassed model of the tutorial's sizes, built by its first call."""
    model = Transformer(
        vocabulary, depth=depth, width=width, hidden=hidden, heads=heads, dropout=0.1
    )

    def inputs(batch: int, rng: np.random.Generator) -> Any:
        return tuple(tokens(rng, batch, length, vocabulary) for _ in range(2))

    model(inputs(1, np.random.default_rng(0)))
    return Subject(model, inputs)
