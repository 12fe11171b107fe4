"""The run side against Keras: the same folder, the same sentences, bits and time.

    python scripts/compare_roads.py INT8 --sentences test.en --count 10000

The folder is loaded twice, by `load_translator` and by `load_folder`; both translate pieces of the
sentences in turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

from keras_int8nmt import Translator, load_folder, load_translator

PIECE = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", help="of a converted model, with a spec")
    parser.add_argument("--sentences", required=True, metavar="FILE", help="one a line")
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="the first N")
    parser.add_argument("--beam-size", type=int, default=4, metavar="N")
    options = parser.parse_args()
    lines = Path(options.sentences).read_text(encoding="utf-8").splitlines()
    sentences = [line for line in lines if line.strip()][: options.count]
    search = {"beam_size": options.beam_size, "num_hypotheses": options.beam_size}
    model, tokenizer, _ = load_folder(options.folder)
    roads = {
        "run side": load_translator(options.folder, **search),
        "Keras": Translator(model, tokenizer, **search),
    }
    seconds: dict[str, list[float]] = {name: [] for name in roads}
    different = 0
    for translator in roads.values():
        translator(sentences[:PIECE])
    for turn, first in enumerate(range(0, len(sentences), PIECE)):
        piece, found = sentences[first : first + PIECE], []
        # Who is first changes, so that neither always finds the caches of the other.
        for name in sorted(roads, reverse=turn % 2 == 1):
            start = time.perf_counter()
            results = roads[name].translate(piece)
            seconds[name].append((time.perf_counter() - start) / len(piece))
            found.append([[(h.tokens, h.score.hex()) for h in r.hypotheses] for r in results])
        different += sum(a != b for a, b in zip(*found, strict=True))
    ratio = statistics.median(
        keras / run for run, keras in zip(seconds["run side"], seconds["Keras"], strict=True)
    )
    print(f"{len(sentences)} sentences, {different} differ")
    print(f"seconds of Keras' road / seconds of the run side, median of pieces: {ratio:.3f}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
