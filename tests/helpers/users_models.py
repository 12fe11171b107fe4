"""Small models as people write them, of plain Keras layers; nothing is registered.

`MODELS[name]()` gives a built model with weights that are not those of a new one, and inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

WIDTH, HEADS, LENGTH, WORDS = 16, 2, 6, 30
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(8, WIDTH)).astype("float32")
SEQUENCES = RNG.normal(size=(4, LENGTH, WIDTH)).astype("float32")
IDS = RNG.integers(1, WORDS, (4, LENGTH)).astype("int32")
IDS[0, 4:] = 0
TARGETS = RNG.integers(1, WORDS, (4, LENGTH - 1)).astype("int32")
TARGETS[1, 3:] = 0


def mlp() -> tuple[keras.Model, Any]:
    hidden = [layers.Dense(24, activation="relu"), layers.Dense(8, activation=lambda x: x * 0.5)]
    return keras.Sequential([keras.Input((WIDTH,)), *hidden, layers.Dense(3)]), ROWS


def vision_transformer() -> tuple[keras.Model, Any]:
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(WIDTH, 4, strides=4, name="patches")(image)
    x = layers.Reshape((4, WIDTH))(x)
    for block in range(2):
        h = layers.LayerNormalization(epsilon=1e-6)(x)
        h = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name=f"attention_{block}")(h, h)
        x = layers.Add()([x, h])
        h = layers.LayerNormalization(epsilon=1e-6)(x)
        h = layers.Dense(2 * WIDTH, activation=keras.activations.gelu)(h)
        x = x + layers.Dense(WIDTH)(h)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    images = RNG.normal(size=(4, 8, 8, 3)).astype("float32")
    return keras.Model(image, layers.Dense(5, name="classes")(x)), images


class EncoderBlock(layers.Layer):
    """As in Keras' own example of translation."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        # As KerasHub calls it; TensorFlow's own attributes begin alike.
        self._self_attention_layer = layers.MultiHeadAttention(HEADS, width)
        inner = [layers.Dense(2 * width, activation="relu"), layers.Dense(width)]
        self.dense_proj = keras.Sequential(inner)
        self.norms = (layers.LayerNormalization(), layers.LayerNormalization())
        self.supports_masking = True

    def call(self, inputs, mask=None):
        padding = None if mask is None else ops.cast(mask[:, None, :], "int32")
        a = self._self_attention_layer(inputs, inputs, attention_mask=padding)
        x = self.norms[0](inputs + a)
        return self.norms[1](x + self.dense_proj(x))


class Positions(layers.Layer):
    def __init__(self, length, words, width, **kwargs):
        super().__init__(**kwargs)
        self.tables = {
            "tokens": layers.Embedding(words, width),
            "positions": layers.Embedding(length, width),
        }

    def call(self, inputs):
        places = ops.arange(0, ops.shape(inputs)[-1], 1)
        return self.tables["tokens"](inputs) + self.tables["positions"](places)

    def compute_mask(self, inputs, mask=None):
        return ops.not_equal(inputs, 0)


class DecoderBlock(layers.Layer):
    """Makes its layers in `build`."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.supports_masking = True

    def build(self, inputs_shape):
        shape, encoded = inputs_shape
        self.attentions = [layers.MultiHeadAttention(HEADS, self.width) for _ in range(2)]
        self.attentions[0].build(shape, shape)
        self.attentions[1].build(shape, encoded)
        self.out = layers.Dense(self.width, activation="relu", name="out")
        self.out.build(shape)
        self.norm = layers.LayerNormalization()
        self.norm.build(shape)

    def call(self, inputs, mask=None):
        x, encoded = inputs
        own, other = (None, None) if mask is None else mask
        x = x + self.attentions[0](x, x, use_causal_mask=True, query_mask=own)
        x = x + self.attentions[1](x, encoded, query_mask=own, key_mask=other)
        return self.norm(x + self.out(x))


def keras_tutorial() -> tuple[keras.Model, Any]:
    """A model in a model, of layers of the user's own."""
    source = keras.Input((None,), dtype="int32", name="source")
    encoded = EncoderBlock(WIDTH, name="encoder")(Positions(LENGTH, WORDS, WIDTH)(source))
    target = keras.Input((None,), dtype="int32", name="target")
    state = keras.Input((None, WIDTH), name="state")
    x = DecoderBlock(WIDTH)([Positions(LENGTH, WORDS, WIDTH)(target), state])
    x = layers.Dropout(0.5)(x)
    decoder = keras.Model([target, state], layers.Dense(WORDS, activation="softmax")(x))
    model = keras.Model({"source": source, "target": target}, decoder([target, encoded]))
    return model, {"source": IDS, "target": TARGETS}


class BaseAttention(layers.Layer):
    """As in TensorFlow's own example of translation."""

    def __init__(self, **kwargs):
        super().__init__()
        self.mha = layers.MultiHeadAttention(**kwargs)
        self.layernorm = layers.LayerNormalization()
        self.add = layers.Add()


class CrossAttention(BaseAttention):
    def call(self, x, context):
        return self.layernorm(self.add([x, self.mha(query=x, key=context, value=context)]))


class CausalSelfAttention(BaseAttention):
    def call(self, x):
        a = self.mha(query=x, value=x, key=x, use_causal_mask=True)
        return self.layernorm(self.add([x, a]))


class FeedForward(layers.Layer):
    def __init__(self, width):
        super().__init__()
        inner = [layers.Dense(2 * width, activation="relu"), layers.Dense(width)]
        self.seq = keras.Sequential([*inner, layers.Dropout(0.1)])

    def call(self, x):
        return x + self.seq(x)


class PositionalEmbedding(layers.Layer):
    def __init__(self, words, width):
        super().__init__()
        self.width = width
        self.embedding = layers.Embedding(words, width, mask_zero=True)
        self.encoding = tf.constant(np.sin(np.arange(64 * width)).reshape(64, width), tf.float32)

    def compute_mask(self, *args, **kwargs):
        return self.embedding.compute_mask(*args, **kwargs)

    def call(self, x):
        length = tf.shape(x)[1]
        x = self.embedding(x) * tf.math.sqrt(tf.cast(self.width, tf.float32))
        return x + self.encoding[tf.newaxis, :length, :]


class Stack(layers.Layer):
    def __init__(self, cross):
        super().__init__()
        self.embedding = PositionalEmbedding(WORDS, WIDTH)
        kinds = [CausalSelfAttention, *([CrossAttention] if cross else [])]
        settings = {"num_heads": HEADS, "key_dim": WIDTH, "dropout": 0.1}
        self.blocks = [
            {"attend": [kind(**settings) for kind in kinds], "feed": FeedForward(WIDTH)}
            for _ in range(1)
        ]

    def call(self, x, context=None):
        x = self.embedding(x)
        for block in self.blocks:
            first, *rest = block["attend"]
            x = first(x)
            for attention in rest:
                x = attention(x, context)
            x = block["feed"](x)
        return x


class Translation(keras.Model):
    """Subclassed: what it computes is known to its `call` alone."""

    def __init__(self):
        super().__init__(name="translation")
        self.encoder, self.decoder = Stack(cross=False), Stack(cross=True)
        self.final_layer = layers.Dense(WORDS)

    def call(self, inputs):
        source, target = inputs
        return self.final_layer(self.decoder(target, self.encoder(source)))


def tensorflow_tutorial() -> tuple[keras.Model, Any]:
    return Translation(), (IDS, TARGETS)


def shared_layer() -> tuple[keras.Model, Any]:
    """A layer and a model used twice, and one layer in two models."""
    x = keras.Input((WIDTH,))
    dense = layers.Dense(WIDTH, activation="tanh", name="shared")
    inner_x = keras.Input((WIDTH,))
    inner = keras.Model(inner_x, layers.Dense(WIDTH)(dense(inner_x)), name="inner")
    h = inner(dense(dense(x)))
    return keras.Model(x, [layers.Add()([h, inner(x)]), dense(h)]), ROWS


def time_distributed() -> tuple[keras.Model, Any]:
    x = keras.Input((LENGTH, WIDTH))
    h = layers.TimeDistributed(layers.Dense(8, activation="relu"), name="each")(x)
    return keras.Model(x, layers.Dense(3)(h)), SEQUENCES


def bidirectional() -> tuple[keras.Model, Any]:
    x = keras.Input((LENGTH, WIDTH))
    h = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both_ways")(x)
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(h))), SEQUENCES


def lambdas() -> tuple[keras.Model, Any]:
    x = keras.Input((WIDTH,))
    h = layers.Lambda(lambda t: t * 2.0)(layers.Dense(8)(x))
    return keras.Model(x, layers.Dense(3)(layers.Activation(lambda t: ops.tanh(t))(h))), ROWS


class Backbone(keras.Model):
    """A Functional model with attributes and methods, as KerasHub's are."""

    def __init__(self, width, **kwargs):
        self.embed = layers.Embedding(WORDS, width, name="embed")
        self.blocks = [EncoderBlock(width, name="block")]
        self.head = layers.Dense(4, name="head")
        ids = keras.Input((None,), dtype="int32", name="ids")
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        super().__init__(ids, self.head(x), **kwargs)
        self.width = width

    def first_block(self, ids):
        return self.blocks[0](self.embed(ids))

    def get_config(self):
        return {"width": self.width}


def backbone() -> tuple[keras.Model, Any]:
    return Backbone(WIDTH, name="backbone"), IDS


class Tied(keras.Model):
    """Holds a variable of one of its layers, its own method, and objects that know the model."""

    def __init__(self):
        super().__init__(name="tied")
        self.dense = layers.Dense(WIDTH, name="dense")
        self.steps = tf.Variable(0, trainable=False)
        self.helper = Helper(self)
        self.twice = lambda x: self.dense(self.dense(x))
        self.also = self.once

    def build(self, shape):
        self.dense.build(shape)
        self.kernel_of_dense = self.dense.kernel
        self.scale = self.add_weight(shape=(WIDTH,), initializer="ones", name="scale")
        self.compiled_step = tf.function(self.step)

    def once(self, x):
        return self.dense(x)

    def step(self, x):
        return self.helper.dense_of_owner(x)

    def call(self, x):
        x = self.twice(x) + self.also(x) + self.compiled_step(x)
        self.steps.assign_add(1)
        return self.scale * ops.matmul(x, ops.transpose(self.kernel_of_dense))


class Helper:
    def __init__(self, owner):
        self.owner = owner

    def dense_of_owner(self, x):
        return self.owner.dense(x)


def tied() -> tuple[keras.Model, Any]:
    return Tied(), ROWS


_MAKERS: dict[str, Callable[[], tuple[keras.Model, Any]]] = {
    "mlp": mlp,
    "vision transformer": vision_transformer,
    "keras tutorial": keras_tutorial,
    "tensorflow tutorial": tensorflow_tutorial,
    "shared layer": shared_layer,
    "time distributed": time_distributed,
    "bidirectional": bidirectional,
    "lambdas": lambdas,
    "backbone": backbone,
    "tied": tied,
}


def _made(make: Callable[[], tuple[keras.Model, Any]]) -> Callable[[], tuple[keras.Model, Any]]:
    def built() -> tuple[keras.Model, Any]:
        keras.utils.set_random_seed(1)
        model, x = make()
        model(x)
        rng = np.random.default_rng(2)
        for weight in model.trainable_weights:
            if len(weight.shape) == 1:
                weight.assign_add(rng.normal(0, 0.1, weight.shape))
        return model, x

    return built


MODELS = {name: _made(make) for name, make in _MAKERS.items()}


def outputs(model: keras.Model, x: Any) -> list[np.ndarray]:
    """What a model answers, as arrays."""
    return [np.asarray(y) for y in keras.tree.flatten(model(x, training=False))]
