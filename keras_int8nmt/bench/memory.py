"""Peak memory of fresh processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_IMPORT = "import tensorflow, keras\n"
_LOAD = "from keras_int8nmt.saving import load_folder\nloaded = load_folder({path!r})\n"
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


def loading_memory(folder: Path) -> int:
    """Peak of a process that loads the model in `folder`, less that of one that only imports."""
    return peak_memory(_IMPORT + _LOAD.format(path=str(folder))) - peak_memory(_IMPORT)
