"""A format of a file of weights by name: the one file that an importer adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.models.build import build_transformer

FILE = "toy.npz"
SIZES = {
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "model_dim": 8,
    "num_heads": 2,
    "ffn_dim": 16,
    "max_length": 12,
}


class ToyFormatError(KerasInt8nmtError, ValueError):
    """A toy folder lacks a tensor; the message names it."""


def load_toy(folder: Path, quant: bool = True) -> Any:
    """The model of a toy folder."""
    with np.load(folder / FILE) as tensors:
        model = build_transformer(
            quant, source_vocabulary_size=int(tensors["vocabulary_size"]), **SIZES
        )
        for weight in model.trainable_weights:
            name = weight.path.partition("/")[2]
            if name not in tensors:
                raise ToyFormatError(f"{FILE} has no tensor {name!r}.")
            weight.assign(tensors[name])
    return model


def save_toy(folder: Path, seed: int, letters: str) -> None:
    """What the toy's own program would write, without its tokenizer."""
    rng = np.random.default_rng(seed)
    model = build_transformer(False, source_vocabulary_size=2 + len(letters), **SIZES)
    tensors = {
        weight.path.partition("/")[2]: rng.normal(weight.name == "gamma", 0.4, weight.shape)
        for weight in model.trainable_weights
    }
    np.savez(folder / FILE, vocabulary_size=2 + len(letters), **tensors)
