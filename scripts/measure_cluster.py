"""Measures `translate --ray` against one process without Ray, in turns, on this machine.

    PYTHONPATH=tests python scripts/measure_cluster.py FOLDER [--lines 100000] [--turns 3]

FOLDER holds a model spec. Two comparisons, each of whole commands on the same greedy task:

- one node with all cores of this machine against one process with all cores;
- three nodes of one core each against one process with one core. Where there are fewer cores than
  that, no more than those can be gained.

Seconds are those of the clock, and those that processors worked: of a busy machine the latter say
more. Needs Linux, and `pip install keras-int8nmt[ray]`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from helpers.ray_cluster import LocalCluster

from keras_int8nmt.cli import main
from keras_int8nmt.storage.builtin import read_pairs


class Run(NamedTuple):
    """Seconds of one run, loading included: of the clock, and of processors."""

    clock: float
    processors: float


def worked(pid: int) -> float:
    """Seconds that processors have worked for a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def watched(cluster: LocalCluster) -> Iterator[dict[str, float]]:
    """Seconds that processors work meanwhile for actors and for the nodes' own processes.

    What looking costs is told, too: it is this process that looks.
    """
    before = {pid: worked(pid) for pid in cluster.raylets()}
    actors: dict[int, float] = {}
    found = {"actors": 0.0, "nodes": 0.0, "looking": 0.0}
    end = threading.Event()

    def watch() -> None:
        looks = 0
        while not end.wait(0.1):
            if looks % 10 == 0:
                actors.update((pid, 0.0) for pid in cluster.actors() if pid not in actors)
            looks += 1
            for pid in actors:
                # Of one that has ended the last look counts.
                with contextlib.suppress(OSError):
                    actors[pid] = worked(pid)
        found["looking"] = time.thread_time()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        end.set()
        thread.join()
        found["actors"] = sum(actors.values())
        found["nodes"] = sum(worked(pid) - then for pid, then in before.items())


def timed(folder: Path, place: Path, *options: str) -> Run:
    """One run of the command in this process."""
    words = ["translate", str(folder), str(place / "in.en"), "-o", str(place / "out.de"), "--force"]
    clock, processors = time.perf_counter(), time.process_time()
    assert main([*words, "--quiet", "--beam-size", "1", *options]) == 0
    return Run(time.perf_counter() - clock, time.process_time() - processors)


def compare(
    folder: Path, place: Path, turns: int, nodes: int, cores: int, streams: str
) -> tuple[list[Run], list[Run]]:
    alone, by_ray = [], []
    with LocalCluster(nodes, cores) as cluster:
        for _ in range(turns):
            alone.append(timed(folder, place, "--streams", streams))
            expected = (place / "out.de").read_bytes()
            with watched(cluster) as others:
                driver = timed(folder, place, "--ray")
            here = driver.processors - others["looking"]
            by_ray.append(Run(driver.clock, here + others["actors"] + others["nodes"]))
            print(
                f"  Ray's turn: {here:.1f} s of processors for the driver, {others['actors']:.1f} "
                f"for actors, {others['nodes']:.1f} for nodes",
                flush=True,
            )
            assert (place / "out.de").read_bytes() == expected
    return alone, by_ray


def report(what: str, alone: list[Run], by_ray: list[Run], lines: int) -> None:
    print(f"{what}, {lines} lines, {len(alone)} turns:")
    for name in Run._fields:
        one = [getattr(run, name) for run in alone]
        other = [getattr(run, name) for run in by_ray]
        ratios = [a / b for a, b in zip(one, other, strict=True)]
        print(
            f"  seconds of {name}: process {statistics.median(one):.1f}, "
            f"Ray {statistics.median(other):.1f}; ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
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
        report(f"one node of {count} cores, a process on {count}", *one, lines)
        three = compare(folder, place, turns, 3, 1, "1")
        report("three nodes of one core, a process on one", *three, lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    run(asked.folder, asked.lines, asked.turns)
