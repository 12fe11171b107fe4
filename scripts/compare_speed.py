"""Two releases side by side: the headline cases of `bench translate`, in turns, in one run.

Whether a change of the library cost speed: the other release is installed in an environment of its
own, builds the models, and saves them; both load them.

    python scripts/compare_speed.py OTHER_PYTHON [--turns 9] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from keras_int8nmt.bench.translation.cases import (
    Case,
    Job,
    forced_sources,
    headline_cases,
    make_job,
)
from keras_int8nmt.bench.translation.client import WorkerProcess, available_cores
from keras_int8nmt.bench.translation.engines import ENGINES, Variant
from keras_int8nmt.bench.translation.models import model_settings
from keras_int8nmt.bench.translation.rounds import Rules, measure

ENGINE = "int8-fast"


def job_of(case: Case) -> Job:
    settings = model_settings(case.model)
    return make_job(case, forced_sources(case, settings), settings["max_length"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", help="the interpreter of the other release")
    parser.add_argument("--turns", type=int, default=9, metavar="N")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    cores = available_cores()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "base"
        build = [
            options.python,
            "-m",
            "keras_int8nmt.bench.translation.models",
            "base",
            str(folder),
        ]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        subprocess.run(build, check=True, cwd=place, env=environment)
        for case in headline_cases(len(cores)):
            workers = {
                name: WorkerProcess(ENGINES[ENGINE], Variant(), cores[: case.streams], python)
                for name, python in (("this", None), ("other", options.python))
            }
            try:
                for worker in workers.values():
                    worker.load(folder)
                rules = Rules(turns=options.turns, always=tuple(workers))
                results = measure(case, job_of(case), workers, rules)
            finally:
                for worker in workers.values():
                    worker.close()
            this, other = results["this"], results["other"]
            for result in (this, other):
                if result.reason is not None:
                    sys.exit(f"{case}: {result.reason}")
            pairs = sorted(b / a for a, b in zip(this.seconds, other.seconds, strict=True))
            ratio = pairs[len(pairs) // 2]
            rows.append({"case": str(case), "this": this.speed, "other": other.speed})
            rows[-1].update(ratio=ratio, least=pairs[0], most=pairs[-1])
            print(
                f"{case}: {this.speed:.0f} against {other.speed:.0f} tokens/s, in pairs "
                f"{ratio:.3f} ({pairs[0]:.3f} to {pairs[-1]:.3f})",
                flush=True,
            )
    if options.json is not None:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
