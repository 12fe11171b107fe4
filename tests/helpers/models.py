"""Small models and data that several test files share."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_int8nmt import (
    CalibrationCallback,
    Int8Gather,
    QuantAttention,
    QuantDense,
    build_transformer,
)
from keras_int8nmt.calibration.from_sentences import calibrate

VOCABULARY = 50

# How the parts of a Transformer can differ, for what must hold of all of them.
CONFIGURATIONS = [
    {"norm": "post", "activation": "relu"},
    {"norm": "pre", "activation": "relu", "tie_embeddings": False},
    {"norm": "post", "activation": "gelu", "position_encoding": "interleaved"},
    {"norm": "pre", "activation": "swish", "output_bias": False, "position_encoding": "marian",
     "first_position": 1},
    {"norm": "post", "activation": "swish", "num_heads": 4, "target_vocabulary_size": 61,
     "tie_embeddings": "output"},
]  # fmt: skip

# One block a side, for the vocabulary and the special ids of the built-in tokenizer.
TINY = {
    "source_vocabulary_size": 6001,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "model_dim": 16,
    "num_heads": 2,
    "ffn_dim": 32,
    "pad_id": 6000,
    "eos_id": 0,
    "start_id": 6000,
}


def tiny_model(max_length: int = 12, seed: int = 1) -> keras.Model:
    """A new model that knows nothing and turns every sentence into something; not calibrated."""
    keras.utils.set_random_seed(seed)
    return build_transformer(max_length=max_length, **TINY)


def make_data(batch: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    """Random sources (one of them padded) and targets."""
    rng = np.random.default_rng(seed)
    source = rng.integers(2, VOCABULARY, (batch, 9)).astype(np.int32)
    target = rng.integers(2, VOCABULARY, (batch, 7)).astype(np.int32)
    source[batch // 2, 5:] = 0
    return {"source": source, "target": target}


# Tracing a graph of observers takes four times as long as a few batches without one; the thresholds
# are the same (callbacks/test_calibration.py, calibration/test_feeds.py).


def calibrate_eagerly(model: keras.Model, data: Any, *arguments: Any, **options: Any) -> None:
    """`predict` with a `CalibrationCallback` of these arguments, without a graph."""
    model.run_eagerly = True
    try:
        callback = CalibrationCallback(*arguments, **options)
        model.predict(data, verbose=0, callbacks=[callback])
    finally:
        model.run_eagerly = False


def calibrate_on_sentences(*arguments: Any, **options: Any) -> None:
    """`calibrate` of these arguments, without a graph."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        calibrate(*arguments, **options)
    finally:
        tf.config.run_functions_eagerly(before)


@functools.cache
def make_transformer(mode: str | None = "symmetric", **changes: Any) -> keras.Model:
    """A small Transformer, calibrated by `mode` unless that is None; tests share it, read only."""
    keras.utils.set_random_seed(0)
    settings = {
        "source_vocabulary_size": VOCABULARY,
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
        "model_dim": 32,
        "num_heads": 2,
        "ffn_dim": 64,
        "max_length": 32,
        **changes,
    }
    model = build_transformer(quant=True, **settings)
    # Biases and norms as a trained model has them: not zeros and ones.
    rng = np.random.default_rng(1)
    model.build()
    for weight in model.trainable_weights:
        if weight.name in ("bias", "beta", "gamma", "output_bias"):
            weight.assign(weight.numpy() + rng.normal(0, 0.1, weight.shape).astype(np.float32))
    if mode is not None:
        calibrate_eagerly(model, make_data(), mode=mode)
    return model


def functional_model() -> keras.Model:
    """Every layer that converts, and some that do not, in a functional model; not calibrated."""
    keras.utils.set_random_seed(3)
    ids = keras.Input((6,), dtype="int32")
    h = Int8Gather(20, 16)(ids)
    h = QuantDense(32, activation="relu")(h)
    h = QuantAttention(2, 8)(h, h, use_causal_mask=True)
    h = keras.layers.LayerNormalization()(h)
    h = QuantDense(8, activation="tanh")(h)
    return keras.Model(ids, keras.layers.Dense(3)(h))


def small_model(**settings: Any) -> keras.Model:
    """A new small Transformer, every weight moved; not calibrated."""
    keras.utils.set_random_seed(0)
    model = build_transformer(
        quant=True,
        **{
            "source_vocabulary_size": 50,
            "num_encoder_layers": 1,
            "num_decoder_layers": 1,
            "model_dim": 32,
            "num_heads": 2,
            "ffn_dim": 64,
            "max_length": 40,
            **settings,
        },
    )
    model.build()
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight.numpy() + rng.normal(0, 0.15, weight.shape).astype(np.float32))
    return model


def random_ids(model: keras.Model, count: int = 24) -> list[list[int]]:
    """Sentences of 0 to 19 words of the source vocabulary, each with the end-of-sentence id."""
    rng = np.random.default_rng(2)
    specials = {model.pad_id, model.eos_id, model.start_id}
    words = [i for i in range(model.settings["source_vocabulary_size"]) if i not in specials]
    return [[*rng.choice(words, rng.integers(0, 20)).tolist(), model.eos_id] for _ in range(count)]
