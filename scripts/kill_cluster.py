"""Runs `translate --ray` on a local cluster whose actors and nodes are killed at random.

    PYTHONPATH=tests python scripts/kill_cluster.py FOLDER [--runs 10] [--lines 20000] [--pause 2]

FOLDER holds a model spec. Every output is compared with that of one process without Ray. Needs
Linux, and `pip install keras-int8nmt[ray]`.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from helpers.ray_cluster import LocalCluster

from keras_int8nmt.storage.builtin import read_pairs


def run(folder: Path, runs: int, lines: int, pause: float) -> int:
    """How many outputs were different."""
    pairs, chance = read_pairs(), random.Random(0)
    sentences = [source for source, _ in (*pairs[0], *pairs[1])]
    different = 0
    with tempfile.TemporaryDirectory() as made, LocalCluster() as cluster:
        place = Path(made)
        content = "".join(chance.choice(sentences) + "\n" for _ in range(lines))
        (place / "in.en").write_text(content, "utf-8")
        words = ["translate", folder, place / "in.en", "--beam-size", 1, "--window", 256]
        assert cluster.start(*words, "-o", place / "one.de").wait() == 0
        for seed in range(runs):
            began = time.monotonic()
            process = cluster.start(*words, "-o", place / "many.de", "--ray", "--force")
            kills = cluster.kill_at_random(process, seed, pause)
            if process.wait():
                sys.exit(process.stderr.read())
            equal = (place / "many.de").read_bytes() == (place / "one.de").read_bytes()
            different += not equal
            print(
                f"run {seed}: {kills['actors']} actors and {kills['nodes']} nodes killed in "
                f"{time.monotonic() - began:.0f} s; {lines} lines "
                f"{'equal to the byte' if equal else 'DIFFERENT'}",
                flush=True,
            )
    return different


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--lines", type=int, default=20000)
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds between kills")
    asked = parser.parse_args()
    sys.exit(run(asked.folder, asked.runs, asked.lines, asked.pause) > 0)
