"""Peak memory of fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_IMPORT = "import tensorflow, keras\n"
_LOAD = (
    "from keras_int8nmt.storage.model_folder import load_folder\nloaded = load_folder({path!r})\n"
)
_TRANSLATE = """
import json
from pathlib import Path
from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.bench.translation.engines.ours import make_translator, paths
job = Job(**json.loads(Path({job!r}).read_text(encoding="utf-8")))
make_translator(loaded[0], job, paths()[0]).translate_ids(job.sentences)
"""
_PEAK = """
lines = open("/proc/self/status", encoding="utf-8").read().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


def peak_memory(program: str) -> int:
    """Bytes that a fresh Python process held at most while it ran `program`.

    Raises:
        RuntimeError: with what the process wrote, if it failed.
    """
    finished = subprocess.run(
        [sys.executable, "-c", program + _PEAK], capture_output=True, text=True, check=False
    )
    if finished.returncode:
        raise RuntimeError(f"A measured process failed:\n{finished.stderr}")
    return int(finished.stdout.split()[-1]) * 1024


def translating_memory(folder: Path, job: dict[str, Any]) -> int:
    """Peak of a process that loads the model in `folder` and does `job`, less that of imports.

    Args:
        folder: A folder of `save_folder`.
        job: The fields of a `Job`. It is done on the fast path where this release has one.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(job, file)
        file.flush()
        program = _IMPORT + _LOAD.format(path=str(folder)) + _TRANSLATE.format(job=file.name)
        return peak_memory(program) - peak_memory(_IMPORT)
