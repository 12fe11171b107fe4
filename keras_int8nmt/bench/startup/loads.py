"""Memory of a process that loads a model, translates a sentence and frees it, again and again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.runtime.spec_file import TENSORS_FILE

LOADS = 100
# What the first loads leave behind stays: imports, threads' stacks, the allocator's own.
_WARM_UP = 20

_PROGRAM = """
import json, os, sys
{imports}
place, ids, resident = sys.argv[1], json.loads(sys.argv[2]), []
for _ in range(int(sys.argv[3])):
    {load_translate_and_free}
    with open("/proc/self/statm", encoding="ascii") as file:
        resident.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
print(json.dumps(resident))
"""
_OURS = _PROGRAM.format(
    imports="from keras_int8nmt import load_translator",
    load_translate_and_free="""\
translator = load_translator(place, max_length=20)
    translator.translate_ids([ids])
    translator.close()
    del translator""",
)
_PEER = _PROGRAM.format(
    imports="import ctranslate2",
    load_translate_and_free="""\
translator = ctranslate2.Translator(place, compute_type="int8", intra_threads=1)
    translator.translate_batch([list(map(str, ids))], beam_size=4, max_decoding_length=20)
    del translator""",
)

# The peak since the package is imported, and what there was then, in KiB.
_LOADING = """
import sys
from keras_int8nmt import load_translator
def status(key):
    with open("/proc/self/status", encoding="ascii") as file:
        return int(file.read().partition(key + ":")[2].split()[0])
before = status("VmRSS")
with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
    file.write("5")
translator = load_translator(sys.argv[1])
print(status("VmHWM") - before)
"""


def growth_while_loading(runtime: Path) -> tuple[float, float]:
    """MB by which a fresh process grows at most while it loads a model, and MB of its weights.

    Args:
        runtime: A folder with a spec; its weights are all tensors that its file holds.
    """
    grown = json.loads(_output(_LOADING, runtime)) * 1024
    return grown / 1e6, (runtime / TENSORS_FILE).stat().st_size / 1e6


def resident_after_loads(
    runtime: Path, ctranslate2: Path, ids: Sequence[int], loads: int = LOADS
) -> dict[str, list[float]]:
    """MB that are resident after each load, ours and CTranslate2's, each in a fresh process.

    Args:
        runtime, ctranslate2: The same model in both formats.
        ids: A source, the end token included.
        loads: How many.
    """
    sides = {"ours": (_OURS, runtime), "CTranslate2": (_PEER, ctranslate2)}
    return {name: _run(program, place, ids, loads) for name, (program, place) in sides.items()}


def slope_kb(resident: Sequence[float]) -> float:
    """KB that a load leaves behind: the least squares' slope after the first fifth of the loads."""
    settled = np.asarray(resident[len(resident) * _WARM_UP // LOADS :])
    return float(np.polyfit(np.arange(len(settled)), settled, 1)[0]) * 1000


def _run(program: str, place: Path, ids: Sequence[int], loads: int) -> list[float]:
    found: list[float] = json.loads(_output(program, place, json.dumps(list(ids)), loads))
    return found


def _output(program: str, *words: Any) -> str:
    """What a program printed in a process of its own."""
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"A measured process failed: {done.stderr.strip()[-500:]}")
    return done.stdout
