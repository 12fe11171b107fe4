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
    words: list[Any] = [sys.executable, "-c", program, place, json.dumps(list(ids)), loads]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"A measured process failed: {done.stderr.strip()[-500:]}")
    found: list[float] = json.loads(done.stdout)
    return found
