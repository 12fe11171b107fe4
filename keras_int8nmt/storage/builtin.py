"""The English-German model inside the package, and the sentence pairs that go with it.

The folder `default_model` holds `weights.npz` (float16, one array a weight, named by its path in
the model), `config.json` (the arguments of `build_transformer`), the tokenizer files of a Marian
folder and `pairs.tsv`. It is made by `scripts/make_default_model.py`; NOTICE there says what the
model was trained on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[1] / "default_model"
WEIGHTS_FILE = "weights.npz"
CALIBRATION_PAIRS = 200


def load_builtin(quant: bool = True) -> Any:
    """The built-in model, float32, English to German.

    Args:
        quant: As in `build_transformer`: whether the model can be calibrated and converted.

    Returns:
        A `Transformer`. Its tokenizer is `MarianTokenizer` of `FOLDER`.
    """
    from keras_int8nmt.models.build import build_transformer

    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    model = build_transformer(quant, **config)
    with np.load(FOLDER / WEIGHTS_FILE, allow_pickle=False) as arrays:
        for weight in model.trainable_weights:
            weight.assign(arrays[weight_name(weight)].astype(np.float32))
    return model


def weight_name(weight: Any) -> str:
    """The name of a weight in the file: its path without the model's own name."""
    return weight.path.partition("/")[2]


def read_pairs() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """English-German sentence pairs: those for calibration, and those for BLEU."""
    lines = (FOLDER / "pairs.tsv").read_text(encoding="utf-8").split("\n")
    pairs = [(source, target) for source, _, target in (x.partition("\t") for x in lines if x)]
    return pairs[:CALIBRATION_PAIRS], pairs[CALIBRATION_PAIRS:]
