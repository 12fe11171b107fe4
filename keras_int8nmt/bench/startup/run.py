"""One sentence in a fresh process, from its start to its end; then loads in one process.

Of a trained model from a shell's point of view, with its tokenizer; of Transformer base by token
ids, since it has none. CTranslate2 has the same weights in its own INT8 format on disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.bench.startup.loads import (
    LOADS,
    growth_while_loading,
    resident_after_loads,
)
from keras_int8nmt.bench.startup.report import write_docs
from keras_int8nmt.bench.timing import Measurement, machine, row
from keras_int8nmt.bench.translation.models import build_in_process
from keras_int8nmt.bench.translation.session import say
from keras_int8nmt.storage.builtin import FOLDER
from keras_int8nmt.translation.translator import load_translator

_SENTENCE = "Where is the station?"
_WORDS = range(10, 36)
_TURNS = 7

_PREPARE = """
import sys
from pathlib import Path
from keras_int8nmt.bench.translation.ctranslate2_writer import write_ctranslate2
from keras_int8nmt.storage.builtin import FOLDER
from keras_int8nmt.storage.model_folder import load_folder, save_folder
from keras_int8nmt.tokenizers.marian import MarianTokenizer

folder, with_text = Path(sys.argv[1]), sys.argv[2] == "text"
tokenizer = MarianTokenizer(FOLDER) if with_text else None
save_folder(load_folder(folder / "int8")[0], folder / "runtime", tokenizer, keras=False)
save_folder(load_folder(folder / "int8")[0], folder / "keras", tokenizer)
plain = load_folder(folder / "float")[0]
unknown = None if tokenizer is None else tokenizer.unk_id
write_ctranslate2(plain, folder / "ctranslate2-int8", unknown, quantization="int8")
"""

# What a user would write with each, as short as it gets.
_OURS_TEXT = """
import sys
from keras_int8nmt import load_translator
print(load_translator(sys.argv[1])([sys.argv[2]])[0])
"""
_KERAS_TEXT = """
import sys
from keras_int8nmt import Translator, load_folder
model, tokenizer, _ = load_folder(sys.argv[1])
print(Translator(model, tokenizer)([sys.argv[2]])[0])
"""
_PEER_TEXT = """
import json, sys
import ctranslate2, sentencepiece
ids = json.load(open(sys.argv[3] + "/vocab.json", encoding="utf-8"))
pieces = {number: piece for piece, number in ids.items()}
processor = sentencepiece.SentencePieceProcessor(sys.argv[3] + "/source.spm")
words = processor.encode(sys.argv[2], out_type=str)
source = [str(ids.get(piece, ids["<unk>"])) for piece in words]
translator = ctranslate2.Translator(sys.argv[1], compute_type="int8", intra_threads=1)
found = translator.translate_batch([[*source, str(ids["</s>"])]], beam_size=4)[0].hypotheses[0]
print(processor.decode([pieces[int(token)] for token in found]))
"""
_OURS_IDS = """
import json, sys
from keras_int8nmt import load_translator
ids = json.loads(sys.argv[2])
translator = load_translator(sys.argv[1], min_length=20, max_length=20)
print(len(translator.translate_ids([ids])[0].hypotheses[0].tokens))
"""
_KERAS_IDS = """
import json, sys
from keras_int8nmt import Translator, load_folder
ids = json.loads(sys.argv[2])
translator = Translator(load_folder(sys.argv[1])[0], None, min_length=20, max_length=20)
print(len(translator.translate_ids([ids])[0].hypotheses[0].tokens))
"""
_PEER_IDS = """
import json, sys
import ctranslate2
source = [str(number) for number in json.loads(sys.argv[2])]
translator = ctranslate2.Translator(sys.argv[1], compute_type="int8", intra_threads=1)
options = dict(beam_size=4, min_decoding_length=20, max_decoding_length=20, return_end_token=True)
print(len(translator.translate_batch([source], **options)[0].hypotheses[0]))
"""
_COMMAND = """
import sys
from keras_int8nmt.cli import main
assert main(["translate", sys.argv[1]]) == 0
"""
# Its own peak: what the operating system tells of a child counts the memory of who forked it.
_PEAK = """
status = open("/proc/self/status", encoding="utf-8").read()
print(status.partition("VmHWM:")[2].split()[0])
"""
_PEER = "CTranslate2"


class Run(NamedTuple):
    """One process: seconds of the wall's clock, and MB that it held at most."""

    seconds: float
    megabytes: float


def run_startup(
    turns: int = _TURNS,
    models: Sequence[str] = ("tiny", "base"),
    loads: int = LOADS,
    docs: str | None = None,
) -> dict[str, Any]:
    """Measures fresh processes in turns.

    Args:
        turns: Of each command, after one to warm the file cache.
        models: "tiny" (the built-in model, with its tokenizer) and others of
            `bench.translation.models`, by token ids.
        loads: Loads and frees in one process.
        docs: Folder to write a table and a plot into.

    Returns:
        `machine`, `loads` (by model and side, the MB after each), `growth` (by model, the MB by
        which loading grows a process at most, and those of the weights) and `rows`: seconds and
        peak memory of one sentence, beam 4: `load_translator`, `load_folder` with Keras, and of a
        model with a tokenizer the command `translate`, each against CTranslate2 with SentencePiece.
        Above 1 ours is faster, or smaller.

    Raises:
        BenchError: when a command fails, or CTranslate2 is not installed.
    """
    rows: list[dict[str, Any]] = []
    resident: dict[str, dict[str, list[float]]] = {}
    growth: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="keras-int8nmt-startup-") as place:
        for name in models:
            folder = Path(place) / name
            say(f"building the model {name}")
            build_in_process(name, folder)
            _checked([sys.executable, "-c", _PREPARE, folder, "text" if name == "tiny" else "ids"])
            rows += _rows(name, _commands(name, folder), turns)
            places = folder / "runtime", folder / "ctranslate2-int8"
            resident[name] = resident_after_loads(*places, _ids(folder), loads)
            growth[name] = growth_while_loading(folder / "runtime")
    figures = {"machine": machine(), "rows": rows, "loads": resident, "growth": growth}
    if docs is not None:
        write_docs(Path(docs), figures)
    return figures


def _ids(folder: Path) -> list[int]:
    return [*_WORDS, load_translator(folder / "runtime").model.eos_id]


def _commands(name: str, folder: Path) -> dict[str, list[Any]]:
    python = [sys.executable, "-c"]
    with_text = name == "tiny"
    what = _SENTENCE if with_text else str(_ids(folder))
    programs = (
        (_OURS_TEXT, _KERAS_TEXT, _PEER_TEXT) if with_text else (_OURS_IDS, _KERAS_IDS, _PEER_IDS)
    )
    places = folder / "runtime", folder / "keras", folder / "ctranslate2-int8"
    names = "load_translator", "load_folder (Keras)", _PEER
    commands: dict[str, list[Any]] = {
        label: [*python, program + _PEAK, place, what, FOLDER]
        for label, program, place in zip(names, programs, places, strict=True)
    }
    if with_text:
        commands["command line"] = [*python, _COMMAND + _PEAK, folder / "runtime"]
    return commands


def _rows(name: str, commands: Mapping[str, list[Any]], turns: int) -> list[dict[str, Any]]:
    runs: dict[str, list[Run]] = {label: [] for label in commands}
    for turn in range(turns + 1):
        for label, command in commands.items():
            run = _checked(command)
            if turn:
                runs[label].append(run)
    rows = []
    for unit, value in (("s", attrgetter("seconds")), ("MB", attrgetter("megabytes"))):
        found = {label: Measurement.of(list(map(value, each))) for label, each in runs.items()}
        peer = found.pop(_PEER)
        for label, ours in found.items():
            case = f"{name}, {'one sentence' if unit == 's' else 'peak memory'}"
            spread = max(ours.spread, peer.spread)
            made = row(f"{label} vs {_PEER}", case, ours.median, peer.median, unit, spread=spread)
            sides = {"ours": ours, "peer": peer}
            made["ranges"] = {name: [m.fastest, m.slowest] for name, m in sides.items()}
            rows.append(made)
    return rows


def _checked(command: Sequence[Any]) -> Run:
    """Runs a command to its end; the sentence is its standard input, too."""
    start = time.perf_counter()
    done = subprocess.run(
        list(map(str, command)),
        input=f"{_SENTENCE}\n",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise BenchError(f"A measured process failed: {words[-1]}")
    last = done.stdout.split()[-1:]
    return Run(seconds, int(last[0]) / 1024 if last and last[0].isdigit() else 0.0)
