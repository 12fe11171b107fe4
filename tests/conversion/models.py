"""Small models and data that the tests of conversion share."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

from keras_int8nmt import CalibrationCallback, build_transformer

VOCABULARY = 50


def make_data(batch: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    """Random sources (one of them padded) and targets."""
    rng = np.random.default_rng(seed)
    source = rng.integers(2, VOCABULARY, (batch, 9)).astype(np.int32)
    target = rng.integers(2, VOCABULARY, (batch, 7)).astype(np.int32)
    source[batch // 2, 5:] = 0
    return {"source": source, "target": target}


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
        model.predict(make_data(), verbose=0, callbacks=[CalibrationCallback(mode=mode)])
    return model
