"""The models, saved once in one folder each, in the forms that engines read.

    float/        `save_folder` of the plain Keras model
    int8/         `save_folder` of the converted model
    ctranslate2/  for CTranslate2, if it is installed

Random weights are seeded, so that two runs measure the same model. Run as a program
(`python -m keras_int8nmt.bench.translation.models NAME FOLDER`), so that the memory and the threads
that this takes end before anything is measured.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_int8nmt.models.settings import check_settings
from keras_int8nmt.storage import builtin as builtin_model

_BASE: dict[str, Any] = {"dropout": 0.0}
_BIG: dict[str, Any] = {"model_dim": 1024, "num_heads": 16, "ffn_dim": 4096, "dropout": 0.0}
# So small that the harness itself is tested with it.
_NANO: dict[str, Any] = {
    "source_vocabulary_size": 50,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "model_dim": 16,
    "num_heads": 2,
    "ffn_dim": 32,
    "max_length": 32,
    "dropout": 0.0,
}
_GIVEN = {
    "base": _BASE,
    "base7": _BASE,
    "bell": _BASE,
    "bell7": _BASE,
    "big": _BIG,
    "big7": _BIG,
    "nano": _NANO,
}


def model_settings(name: str) -> dict[str, Any]:
    """All arguments of `build_transformer` that model `name` is made with; it is not built."""
    given = _GIVEN.get(name)
    if given is None:
        given = json.loads((builtin_model.FOLDER / "config.json").read_text(encoding="utf-8"))
    return check_settings({key: value for key, value in given.items() if key != "name"})


def build_in_process(name: str, folder: Path) -> None:
    """Builds model `name` into `folder` in a fresh process.

    Raises:
        RuntimeError: with what the process wrote, if it failed.
    """
    program = [sys.executable, "-m", __name__, name, str(folder)]
    finished = subprocess.run(program, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"Building the model {name!r} failed:\n{finished.stderr}")


def build(name: str, folder: Path) -> None:
    """Builds model `name` into `folder`, which is made."""
    from keras_int8nmt.bench.translation.ctranslate2_writer import write_ctranslate2
    from keras_int8nmt.storage.model_folder import save_folder

    int8, plain, unk_id = MODELS[name]()
    folder.mkdir(parents=True)
    save_folder(plain, folder / "float")
    save_folder(int8, folder / "int8")
    if importlib.util.find_spec("ctranslate2") is not None:
        write_ctranslate2(plain, folder / "ctranslate2", unk_id)


def _random(
    settings: dict[str, Any], weight_bits: int | None = None, bell_shaped: bool = False
) -> tuple[Any, Any, int | None]:
    from keras_int8nmt.bench.base_model import make_models

    return *make_models(settings, weight_bits, bell_shaped), None


def _tiny() -> tuple[Any, Any, int | None]:
    """The trained built-in model, calibrated as `keras-int8nmt demo` does it."""
    from keras_int8nmt.calibration.from_sentences import calibrate
    from keras_int8nmt.conversion.converter import convert
    from keras_int8nmt.tokenizers.marian import MarianTokenizer

    tokenizer = MarianTokenizer(builtin_model.FOLDER)
    model = builtin_model.load_builtin()
    sample, _ = builtin_model.read_pairs()
    calibrate(model, tokenizer, [s for s, _ in sample], [t for _, t in sample])
    return convert(model), builtin_model.load_builtin(quant=False), tokenizer.unk_id


MODELS: dict[str, Callable[[], tuple[Any, Any, int | None]]] = {
    "base": lambda: _random(_BASE),
    # Weights of 7 bits, which CPUs without VNNI multiply faster.
    "base7": lambda: _random(_BASE, weight_bits=7),
    # Weights that lie as those of trained models do, more of them near zero than far from it.
    "bell": lambda: _random(_BASE, bell_shaped=True),
    "bell7": lambda: _random(_BASE, weight_bits=7, bell_shaped=True),
    "big": lambda: _random(_BIG),
    "big7": lambda: _random(_BIG, weight_bits=7),
    "tiny": _tiny,
    "nano": lambda: _random(_NANO),
}


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    build(sys.argv[1], Path(sys.argv[2]))
