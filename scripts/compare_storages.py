"""A folder as OPUS-MT publishes them against the same weights in safetensors: are the texts equal?

    python scripts/compare_storages.py MARIAN_FOLDER SENTENCES [--count 2000]

The published folder is made here of a Hugging Face folder: config.json, pytorch_model.bin in the
legacy stream and tf_model.h5, both float16, two .spm and vocab.json. Each of its storages is opened
by `load_model` and compared with a safetensors folder of the rounded values.
"""

from __future__ import annotations

import argparse
import importlib.abc
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.checkpoints import (
    rounded,
    write_safetensors,
    write_tf_h5,
    write_torch_legacy,
    write_torch_zip,
)

from keras_int8nmt import Translator, load_model
from keras_int8nmt.importers.safetensors_file import read_safetensors

DTYPE = "float16"
SHARED = ("source.spm", "target.spm", "vocab.json", "config.json", "generation_config.json")


class NoTorch(importlib.abc.MetaPathFinder):
    """An environment without the packages that are commonly asked for such files."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name.partition(".")[0] in ("torch", "transformers", "safetensors", "h5py"):
            raise ImportError(f"{name} is not to be imported here")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sentences", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    arguments = parser.parse_args()
    entries = read_safetensors(arguments.folder / "model.safetensors", ValueError)
    tensors = {name: rounded(entry.read(), DTYPE) for name, entry in entries.items()}
    lines = arguments.sentences.read_text(encoding="utf-8").split("\n")[: arguments.count]
    with tempfile.TemporaryDirectory() as place:
        writers = {
            "model.safetensors": write_safetensors,
            "pytorch_model.bin": write_torch_legacy,
            "pytorch_model.bin, zip": write_torch_zip,
            "tf_model.h5": write_tf_h5,
        }
        folders = {name: Path(place) / name for name in writers}
        for name, write in writers.items():
            folders[name].mkdir()
            for file in SHARED:
                shutil.copy(arguments.folder / file, folders[name])
            write(folders[name] / name.partition(",")[0], tensors, DTYPE)
        published = folders["pytorch_model.bin"]
        shutil.copy(folders["tf_model.h5"] / "tf_model.h5", published)
        sys.meta_path.insert(0, NoTorch())
        expected: list[str] = []
        for name, folder in folders.items():
            model, tokenizer, card = load_model(folder, quant=False)
            with Translator(model, tokenizer, return_scores=False) as translator:
                found = translator(lines)
                search = f"beam {translator.beam_size}, at most {translator.max_length} tokens"
            expected = expected or found
            differ = sum(a != b for a, b in zip(expected, found, strict=True))
            files = ", ".join(sorted(path.name for path in folder.iterdir()))
            print(f"{name} ({card['imported']['dtype']}; {files})")
            print(f"  {len(found)} sentences, {search}: {differ} differ")


if __name__ == "__main__":
    main()
