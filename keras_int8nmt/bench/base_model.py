"""Transformer base with random weights, and sources for it: what speed is measured on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_int8nmt.callbacks.calibration import CalibrationCallback
from keras_int8nmt.conversion.converter import convert
from keras_int8nmt.models.build import build_transformer
from keras_int8nmt.models.plain import plain_model

SENTENCES = 32
SOURCE_TOKENS = 27
TARGET_TOKENS = 28


def make_sources() -> list[list[int]]:
    """32 sentences of 27 random tokens, the end token last."""
    rng = np.random.default_rng(0)
    ids = rng.integers(2, 32000, (SENTENCES, SOURCE_TOKENS))
    ids[:, -1] = 1
    return ids.tolist()


def make_models(
    settings: dict[str, Any] | None = None,
    weight_bits: int | None = None,
    bell_shaped: bool = False,
) -> tuple[Any, Any]:
    """`(int8, plain float)` of random weights, calibrated on random tokens.

    Args:
        settings: Arguments of `build_transformer`; None: Transformer base, that is 6 + 6 layers,
            512, 8 heads, FFN 2048, 32,000 tokens.
        weight_bits: Of the INT8 model, see `convert`.
        bell_shaped: Whether kernels are normal numbers, as those of trained models nearly are, and
            not uniform ones, as Keras begins with. Of the same variance.
    """
    keras.utils.set_random_seed(0)
    model = build_transformer(quant=True, **(settings or {"dropout": 0.0}))
    rng = np.random.default_rng(1)
    if bell_shaped:
        model.build()
        for kernel in (v for v in model.trainable_variables if v.name == "kernel"):
            spread = float(np.std(kernel.numpy()))
            kernel.assign(rng.normal(0.0, spread, kernel.shape).astype(np.float32))
    size = model.target_vocabulary_size
    sample = {
        "source": (np.array(make_sources()[:8], np.int32) - 2) % (size - 2) + 2,
        "target": rng.integers(2, size, (8, TARGET_TOKENS)).astype(np.int32),
    }
    model.predict(sample, verbose=0, callbacks=[CalibrationCallback()])
    return convert(model, weight_bits=weight_bits), plain_model(model)


def translator_settings(beam_size: int = 4) -> dict[str, Any]:
    """Arguments of `Translator`: one batch, and each translation as long as the next."""
    return {
        "beam_size": beam_size,
        "batch_size": SENTENCES,
        "min_length": TARGET_TOKENS,
        "max_length": TARGET_TOKENS,
        "streams": 1,
    }
