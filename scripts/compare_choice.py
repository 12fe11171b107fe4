"""The INT8 back end by measurement against each back end for everything.

The headline cases of `bench translate`, in turns, each way in a process of its own; then what the
choice costs a process that knows nothing, and one that has read the file.

    python scripts/compare_choice.py [--turns 7] [--case 'base beam1 b1 s1 27tok'] [--json FILE]

Instruction sets are forced as everywhere: KERAS_INT8NMT_ISA=avx2 ONEDNN_MAX_CPU_ISA=AVX2.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from keras_int8nmt import native
from keras_int8nmt.bench.translation.cases import Case, forced_sources, headline_cases, make_job
from keras_int8nmt.bench.translation.client import WorkerProcess, available_cores
from keras_int8nmt.bench.translation.engines import ENGINES, Variant
from keras_int8nmt.bench.translation.models import build_in_process, model_settings
from keras_int8nmt.bench.translation.rounds import Rules, measure

ENGINE = "int8-fast"
# Those of Transformer base.
SHAPES = [(512, 512), (512, 1024), (512, 1536), (512, 2048), (2048, 512), (512, 32000)]
PROGRAM = f"""
import time
from keras_int8nmt import native
from keras_int8nmt.runtime.gemm_choice import choose_gemm

native.info()
wall, thread = time.perf_counter(), time.thread_time()
choose_gemm({SHAPES})
print(time.perf_counter() - wall, time.thread_time() - thread)
"""


def speeds(folder: Path, case: Case, names: list[str], turns: int, cache: str) -> dict[str, Any]:
    """Tokens/s by back end, and what "auto" reaches of the best one, turn by turn."""
    settings = model_settings(case.model)
    job = make_job(case, forced_sources(case, settings), settings["max_length"])
    cores = available_cores()[: case.streams]
    workers = {}
    for name in ["auto", *names]:
        environment = {"KERAS_INT8NMT_GEMM": name, "KERAS_INT8NMT_CACHE": cache}
        workers[name] = WorkerProcess(ENGINES[ENGINE], Variant(environment=environment), cores)
    try:
        for worker in workers.values():
            worker.load(folder)
        results = measure(case, job, workers, Rules(turns=turns, always=tuple(workers)))
    finally:
        for worker in workers.values():
            worker.close()
    for name, result in results.items():
        if result.reason is not None:
            sys.exit(f"{case}, {name}: {result.reason}")
    best = max(names, key=lambda name: results[name].speed)
    pairs = zip(results["auto"].seconds, results[best].seconds, strict=True)
    ratios = sorted(fixed / auto for auto, fixed in pairs)
    return {
        "case": str(case),
        "tokens_per_second": {name: result.speed for name, result in results.items()},
        "best": best,
        "auto_over_best": statistics.median(ratios),
        "least": ratios[0],
        "most": ratios[-1],
    }


def cost(cache: str, runs: int) -> dict[str, list[float]]:
    """Milliseconds of `choose_gemm` in fresh processes, by the clock and of the thread alone."""
    found: dict[str, list[float]] = {"wall": [], "thread": []}
    for _ in range(runs):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "KERAS_INT8NMT_CACHE": cache},
            check=True,
            capture_output=True,
            text=True,
        )
        for each, seconds in zip(found.values(), done.stdout.split(), strict=True):
            each.append(1e3 * float(seconds))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=7, metavar="N")
    parser.add_argument("--case", action="append", metavar="CASE", type=Case.parse)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    names = list(native.measure_gemm(64, 64, 0.0)["seconds"])
    isa = native.info()["isa"]
    print(f"{isa}: auto, {', '.join(names)}", flush=True)
    figures: dict[str, Any] = {"isa": isa, "cost_ms": {}, "cases": []}
    with tempfile.TemporaryDirectory() as place:
        kept = str(Path(place) / "cache")
        for what, cache in (("measured", "0"), ("kept", kept)):
            # The first one fills the file.
            figures["cost_ms"][what] = found = cost(cache, 8)
            text = ", ".join(
                f"{name} {min(times[1:]):.1f} to {max(times[1:]):.1f}, median "
                f"{statistics.median(times[1:]):.1f}"
                for name, times in found.items()
            )
            print(f"choosing for Transformer base, {what}, ms: {text}", flush=True)
        for case in options.case or headline_cases(len(available_cores())):
            folder = Path(place) / case.model
            if not folder.exists():
                build_in_process(case.model, folder)
            row = speeds(folder, case, names, options.turns, kept)
            figures["cases"].append(row)
            told = ", ".join(f"{n} {s:.0f}" for n, s in row["tokens_per_second"].items())
            print(
                f"{case}: {told} tokens/s; auto over {row['best']} "
                f"{row['auto_over_best']:.3f} ({row['least']:.3f} to {row['most']:.3f})",
                flush=True,
            )
    if options.json is not None:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
