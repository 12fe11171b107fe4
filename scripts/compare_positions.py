"""What a converted Marian model makes of references with each of two position tables.

    python scripts/compare_positions.py MARIAN_FOLDER SOURCE REFERENCE [--rows 40]

MARIAN_FOLDER is in the layout of Hugging Face; `load_marian` opens it with the sinusoids of
`transformers` ("half") and with those that Marian trains with ("marian"). It is given single
sentences, and runs of sentences one after another, with references that are joined likewise, and
every token after those that are right. Printed are the tokens that it gets wrong, in percent, and
the loss, by length of the source.
"""

from __future__ import annotations

import argparse
import random
from itertools import pairwise
from pathlib import Path

import numpy as np

from keras_int8nmt import MarianTokenizer
from keras_int8nmt.importers.marian import load_marian

ENCODINGS = ("half", "marian")
# The first is of single sentences.
WIDTHS = (50, 100, 200, 300)

Pair = tuple[list[int], list[int]]


def runs(pairs: list[Pair], rng: random.Random, least: int, most: int) -> Pair:
    """Pairs one after another until the source is of more tokens than `least`, `most` at most."""
    while True:
        source: list[int] = []
        target: list[int] = []
        while len(source) <= least:
            one, other = rng.choice(pairs)
            source, target = source + one, target + other
        if len(source) < most and len(target) < most:
            return source, target


def evaluate(model, tokenizer, rows: list[Pair]) -> tuple[float, float]:
    """Tokens of the references that are wrong, in percent, and the loss a token."""
    wrong = loss = count = 0.0
    for source, target in rows:
        labels = np.array([[*target, tokenizer.eos_id]], np.int32)
        inputs = {
            "source": np.array([[*source, tokenizer.eos_id]], np.int32),
            "target": np.concatenate([[[model.start_id]], labels[:, :-1]], axis=1),
        }
        logits = np.asarray(model(inputs))[0].astype(np.float64)
        logits[:, model.pad_id] = -np.inf
        top = logits.max(-1)
        log_sum = np.log(np.exp(logits - top[:, None]).sum(-1)) + top
        loss += float((log_sum - logits[np.arange(len(labels[0])), labels[0]]).sum())
        wrong += float((logits.argmax(-1) != labels[0]).sum())
        count += labels.size
    return 100 * wrong / count, loss / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--rows", type=int, default=40)
    arguments = parser.parse_args()
    tokenizer = MarianTokenizer(arguments.folder)
    texts = [
        path.read_text(encoding="utf-8").split("\n")
        for path in (arguments.source, arguments.reference)
    ]
    pairs = [
        (tokenizer.encode(source)[:-1], tokenizer.encode_target(target)[:-1])
        for source, target in zip(*texts, strict=True)
        if source
    ]
    rng = random.Random(0)
    bins = {"one sentence": [rng.choice(pairs) for _ in range(5 * arguments.rows)]}
    for least, most in pairwise(WIDTHS):
        rows = [runs(pairs, rng, least, most) for _ in range(arguments.rows)]
        bins[f"{least} to {most}"] = rows
    print(f"| asked with | {' | '.join(bins)} |\n{'| --- ' * (1 + len(bins))}|")
    for encoding in ENCODINGS:
        model = load_marian(arguments.folder, quant=False, position_encoding=encoding)
        found = [evaluate(model, tokenizer, rows) for rows in bins.values()]
        told = " | ".join(f"{wrong:.2f} % ({loss:.3f})" for wrong, loss in found)
        print(f'| "{encoding}" | {told} |', flush=True)


if __name__ == "__main__":
    main()
