"""Builds a model for the benchmarks of the service: `python models.py NAME FOLDER`.

    int8/         a model spec and the built-in model's tokenizer
    ctranslate2/  the same weights for CTranslate2, in int8

"tiny" is the built-in model, "base" a Transformer base of random weights with the same vocabulary.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

BASE = {"dropout": 0.0, "source_vocabulary_size": 6001, "pad_id": 6000, "eos_id": 0}


def build(name: str, folder: Path) -> None:
    from keras_int8nmt.bench.base_model import make_models
    from keras_int8nmt.bench.translation.ctranslate2_writer import write_ctranslate2
    from keras_int8nmt.bench.translation.models import MODELS
    from keras_int8nmt.storage.builtin import FOLDER
    from keras_int8nmt.storage.model_folder import save_folder
    from keras_int8nmt.tokenizers.marian import MarianTokenizer

    tokenizer = MarianTokenizer(FOLDER)
    int8: Any
    if name == "tiny":
        int8, plain, _ = MODELS["tiny"]()
    else:
        int8, plain = make_models({**BASE, "start_id": 6000})
    folder.mkdir(parents=True)
    card = {"languages": ["en", "de"]}
    save_folder(int8, folder / "int8", tokenizer, keras=False, card=card)
    write_ctranslate2(plain, folder / "ctranslate2", tokenizer.unk_id, quantization="int8")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    build(sys.argv[1], Path(sys.argv[2]))
