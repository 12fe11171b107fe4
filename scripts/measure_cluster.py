"""Measures `translate --ray` against one process without Ray, in turns, on this machine.

    PYTHONPATH=tests python scripts/measure_cluster.py FOLDER [--lines 100000] [--turns 3]

FOLDER holds a model spec. Two comparisons, each of whole commands on the same greedy task:

- one node with all cores of this machine against one process with all cores;
- three nodes of one core each against one process with one core. Where there are fewer than three
  cores and one for the driver, no more than those can be gained.

Needs Linux, and `pip install keras-int8nmt[ray]`.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from helpers.ray_cluster import LocalCluster

from keras_int8nmt.cli import main
from keras_int8nmt.storage.builtin import read_pairs


def seconds(folder: Path, place: Path, *options: str) -> float:
    """Of one run, loading included."""
    words = ["translate", str(folder), str(place / "in.en"), "-o", str(place / "out.de"), "--force"]
    began = time.perf_counter()
    assert main([*words, "--quiet", "--beam-size", "1", *options]) == 0
    return time.perf_counter() - began


def compare(
    folder: Path, place: Path, turns: int, nodes: int, cores: int, streams: str
) -> tuple[list[float], list[float]]:
    alone, ray = [], []
    with LocalCluster(nodes, cores):
        for _ in range(turns):
            alone.append(seconds(folder, place, "--streams", streams))
            expected = (place / "out.de").read_bytes()
            ray.append(seconds(folder, place, "--ray"))
            assert (place / "out.de").read_bytes() == expected
    return alone, ray


def report(what: str, alone: list[float], ray: list[float], lines: int) -> None:
    ratios = [one / other for one, other in zip(alone, ray, strict=True)]
    print(
        f"{what}: {statistics.median(ratios):.2f} of the process's speed "
        f"({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} turns of {lines} lines); "
        f"process {statistics.median(alone):.1f} s, Ray {statistics.median(ray):.1f} s",
        flush=True,
    )


def run(folder: Path, lines: int, turns: int) -> None:
    pairs, chance = read_pairs(), random.Random(0)
    sentences = [source for source, _ in (*pairs[0], *pairs[1])]
    count = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        content = "".join(f"{chance.choice(sentences)}\n" for _ in range(lines))
        (place / "in.en").write_text(content, "utf-8")
        one = compare(folder, place, turns, 1, count, "auto")
        report(f"one node of {count} cores against a process on {count}", *one, lines)
        three = compare(folder, place, turns, 3, 1, "1")
        report("three nodes of one core against a process on one", *three, lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    run(asked.folder, asked.lines, asked.turns)
