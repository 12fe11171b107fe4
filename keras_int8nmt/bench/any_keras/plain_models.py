"""Models of Keras' own layers alone: a multilayer perceptron and a small vision Transformer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_int8nmt.bench.any_keras.subject import Subject


def mlp(features: int = 512, widths: tuple[int, ...] = (2048, 2048, 512)) -> Subject:
    """Dense layers with three activations, and ten classes."""
    activations = ("relu", "gelu", "tanh")
    hidden = [layers.Dense(w, activation=a) for w, a in zip(widths, activations, strict=False)]
    model = keras.Sequential(
        [keras.Input((features,)), *hidden, layers.Dense(10, activation="softmax")]
    )

    def inputs(batch: int, rng: np.random.Generator) -> Any:
        return rng.normal(size=(batch, features)).astype(np.float32)

    return Subject(model, inputs)


class PatchEncoder(layers.Layer):
    """Pieces of an image, projected, and where each is."""

    def __init__(self, patch: int, count: int, width: int) -> None:
        super().__init__()
        self.patch, self.count = patch, count
        self.projection = layers.Dense(width)
        self.position = layers.Embedding(count, width)

    def call(self, images: Any) -> Any:
        pieces = ops.image.extract_patches(images, self.patch)
        pieces = ops.reshape(pieces, (-1, self.count, self.patch * self.patch * 3))
        return self.projection(pieces) + self.position(ops.arange(self.count))


def vision_transformer(
    image: int = 64, patch: int = 8, width: int = 256, heads: int = 4, blocks: int = 4
) -> Subject:
    """Pre-norm blocks over patches, and a hundred classes."""
    pixels = keras.Input((image, image, 3))
    x = PatchEncoder(patch, (image // patch) ** 2, width)(pixels)
    for _ in range(blocks):
        normed = layers.LayerNormalization(epsilon=1e-6)(x)
        attended = layers.MultiHeadAttention(heads, width // heads, dropout=0.1)(normed, normed)
        x = layers.Add()([x, attended])
        hidden = layers.LayerNormalization(epsilon=1e-6)(x)
        hidden = layers.Dense(4 * width, activation="gelu")(hidden)
        x = layers.Add()([x, layers.Dense(width)(hidden)])
    pooled = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(x))
    model = keras.Model(pixels, layers.Dense(100)(layers.Dropout(0.5)(pooled)))

    def inputs(batch: int, rng: np.random.Generator) -> Any:
        return rng.normal(size=(batch, image, image, 3)).astype(np.float32)

    return Subject(model, inputs)
