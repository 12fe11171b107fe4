"""Makes `keras_int8nmt/default_model` from a Marian folder: weights in float16, readable by NumPy.

    python scripts/make_default_model.py marian-tiny-en-de

`pairs.tsv`, written by hand, stays as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from keras_int8nmt import load_marian
from keras_int8nmt.storage.builtin import FOLDER, WEIGHTS_FILE, weight_name

NOTICE = """\
The files weights.npz, config.json, source.spm, target.spm and vocab.json of this folder are an
English-German translation model trained for this project on sentence pairs of Tatoeba: the
manythings.org/anki selection of 2018-05-13, without the pairs whose English or German sentence is
in a Tatoeba Challenge test set.

Sentence pairs: CC BY 2.0 FR (https://creativecommons.org/licenses/by/2.0/fr/), by the contributors
of Tatoeba (tatoeba.org), through www.manythings.org/anki. Keep this attribution with the files.
Changes: the sentences were used to train a model; no sentence is reproduced here.

pairs.tsv was written for this project and has the project's own licence.
"""

_TOKENIZER_FILES = ("source.spm", "target.spm", "vocab.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a folder in the Hugging Face Marian layout")
    folder = parser.parse_args().folder
    model = load_marian(folder, quant=False)
    weights = {weight_name(w): np.asarray(w, np.float16) for w in model.trainable_weights}
    worst = max(float(np.abs(w).max()) for w in weights.values())
    if not np.isfinite(worst):
        raise SystemExit(f"{folder}: a weight does not fit into float16.")
    FOLDER.mkdir(exist_ok=True)
    np.savez(FOLDER / WEIGHTS_FILE, **weights)
    config = {"name": model.name, **model.settings}
    (FOLDER / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    for name in _TOKENIZER_FILES:
        shutil.copyfile(folder / name, FOLDER / name)
    (FOLDER / "NOTICE").write_text(NOTICE, encoding="utf-8")
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{FOLDER}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
