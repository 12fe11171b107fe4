"""Every instruction set and INT8 back end of this CPU: the same tokens, the same bits of scores.

    python scripts/compare_isas.py INT8 --sentences valid.en --count 500

Each pair translates in a process of its own, by `load_translator`, greedy and by beam; what is
compared is every hypothesis and its score.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from keras_int8nmt.bench.translation.isa import ISAS, forced

BACK_ENDS = ("vnni", "madd", "onednn", "mkl", "reference")
BEAMS = (4, 1)
PROGRAM = f"""
import json, sys
from keras_int8nmt import load_translator
folder, sentences = json.load(sys.stdin)
found = []
for beam in {BEAMS}:
    with load_translator(folder, beam_size=beam, num_hypotheses=beam) as translator:
        for result in translator.translate(sentences):
            found.append([(h.tokens, h.score.hex()) for h in result.hypotheses])
json.dump(found, sys.stdout)
"""


def answers(folder: str, sentences: list[str], isa: str, back_end: str) -> list | str:
    """What the pair gives; its last words where it can't run here.

    Raises:
        RuntimeError: where a signal ended it, which is no refusal.
    """
    environment = {**os.environ, **forced(isa), "KERAS_INT8NMT_GEMM": back_end}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([folder, sentences]),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode < 0:
        raise RuntimeError(f"{isa}, {back_end}: ended by signal {-done.returncode}")
    if done.returncode:
        return (done.stderr.strip() or "no reason given").splitlines()[-1]
    return json.loads(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", help="of a converted model, with a spec")
    parser.add_argument("--sentences", required=True, metavar="FILE", help="one a line")
    parser.add_argument("--count", type=int, default=500, metavar="N", help="the first N")
    options = parser.parse_args()
    lines = Path(options.sentences).read_text(encoding="utf-8").splitlines()
    sentences = [line for line in lines if line.strip()][: options.count]
    folder = os.path.abspath(options.folder)
    first, compared, different = None, 0, 0
    for isa in ISAS:
        for back_end in BACK_ENDS:
            found = answers(folder, sentences, isa, back_end)
            if isinstance(found, str):
                print(f"{isa}, {back_end}: does not run here: {found}", flush=True)
                continue
            first = found if first is None else first
            differ = sum(a != b for a, b in zip(first, found, strict=True))
            print(f"{isa}, {back_end}: {differ} of {len(found)} differ", flush=True)
            compared, different = compared + 1, different + (differ > 0)
    if compared < 2:
        parser.error("fewer than two pairs run here; there is nothing to compare")
    print(f"{compared} pairs, {len(sentences)} sentences by beams of {BEAMS}: {different} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
