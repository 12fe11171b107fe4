"""Token ids and scores of model folders, on both engines, kept in a file and compared with it.

Whether a change of the library changed an answer: run before and after, on folders that the
release before saved. Uses public names alone, so that it runs on every release.

    python scripts/answers.py INT8 MIXED FLOAT --sentences test.en -o before.json
    python scripts/answers.py INT8 MIXED FLOAT --sentences test.en --against before.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

from keras_int8nmt import Translator, load_folder

BEAMS = (1, 4)
PATHS = ("fast", "layers")


def answers(folder: str, sentences: list[str]) -> dict[str, Any]:
    """By engine and beam size: each sentence's hypotheses, as `[score, token, ...]`."""
    model, tokenizer, _ = load_folder(folder)
    found = {}
    for path in PATHS:
        for beam in BEAMS:
            with Translator(
                model, tokenizer, beam_size=beam, num_hypotheses=beam, path=path
            ) as translator:
                found[f"{path} beam {beam}"] = [
                    [[float(h.score).hex(), *h.tokens] for h in translation.hypotheses]
                    for translation in translator.translate(sentences)
                ]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--sentences", required=True, metavar="FILE", help="one a line")
    parser.add_argument("--count", type=int, default=500, metavar="N", help="taken evenly")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-o", "--output", metavar="FILE", help="keep the answers")
    what.add_argument("--against", metavar="FILE", help="compare with answers that were kept")
    options = parser.parse_args()
    lines = Path(options.sentences).read_text(encoding="utf-8").splitlines()
    sentences = [line for line in lines[:: max(1, len(lines) // options.count)] if line.strip()]
    sentences = sentences[: options.count]
    found = {Path(folder).name: answers(folder, sentences) for folder in options.folders}
    if options.output is not None:
        Path(options.output).write_text(json.dumps({"sentences": sentences, "found": found}))
        return 0
    kept = json.loads(Path(options.against).read_text())
    if kept["sentences"] != sentences:
        parser.error(f"{options.against} holds the answers to other sentences.")
    different = 0
    for name, searches in found.items():
        for search, results in searches.items():
            before = kept["found"][name][search]
            unequal = sum(a != b for a, b in zip(results, before, strict=True))
            different += unequal
            print(f"{name:12} {search:14} {len(results)} sentences, {unequal} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
