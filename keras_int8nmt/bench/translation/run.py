"""`bench translate`: which cases, which engines, measured, compared, written."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_int8nmt import native
from keras_int8nmt._version import __version__
from keras_int8nmt.bench.memory import translating_memory
from keras_int8nmt.bench.timing import machine, row
from keras_int8nmt.bench.translation.cases import Case, all_cases, headline_cases
from keras_int8nmt.bench.translation.client import available_cores
from keras_int8nmt.bench.translation.engines import ENGINES
from keras_int8nmt.bench.translation.engines.ours import paths
from keras_int8nmt.bench.translation.figures import FORMULA, compare, figures_of, ours_of
from keras_int8nmt.bench.translation.isa import force
from keras_int8nmt.bench.translation.measuring import case_results
from keras_int8nmt.bench.translation.models import model_settings
from keras_int8nmt.bench.translation.report import write_docs
from keras_int8nmt.bench.translation.rounds import Result, Rules
from keras_int8nmt.bench.translation.session import Session, say
from keras_int8nmt.bench.translation.state import State

STATE_FILE = "bench-translate.jsonl"
# Of a run that is to measure anew each time: it is there until the run has ended.
UNFINISHED_FILE = "bench-translate-unfinished.jsonl"
_FAST, _LAYERS = "int8-fast", "int8-layers"
_PAIR = (_FAST, "ctranslate2-int8")
_FIRST_CASE = (*_PAIR, "float32-fast", _LAYERS, "keras-float32")
_MB = 1e6


def run_translate(
    *,
    full: bool = False,
    docs: str | None = None,
    cases: Sequence[Case] = (),
    engines: Sequence[str] = (),
    state: str | None = None,
    isa: str | None = None,
) -> dict[str, Any]:
    """Measures engines side by side, each in a process of its own.

    Args:
        full: The whole matrix with all engines instead of three cases. What is complete is kept
            in the state file, so that the command goes on where it was interrupted.
        docs: Folder for `benchmarks-translate.md` and `.png`, and their figures. None: nothing is
            written.
        cases: These cases and no others.
        engines: These engines and no others.
        state: The state file; by default one in the working directory. Unless `full` that is
            removed when all has been measured, so that it serves a run alone that was interrupted.
        isa: One of `isa.ISAS`: every engine is held to that instruction set. The documents are
            named after it then.

    Returns:
        `machine`, `rows` (ours against each peer, target tokens/s; a peer that can't run has a
        reason and no ratio), `tried` (settings that were tried out) and `formula`.
    """
    variables = {} if isa is None else force(isa)
    cores = available_cores()
    chosen = list(cases) or (all_cases(len(cores)) if full else headline_cases(len(cores)))
    found = machine_and_versions()
    if variables:
        found["forced"] = ", ".join(f"{name}={value}" for name, value in variables.items())
    file = Path(state or (STATE_FILE if full else UNFINISHED_FILE))
    passing = not full and not state
    kept = State(None if passing and not os.access(".", os.W_OK) else file, found)
    rules = Rules(always=(*_PAIR, _LAYERS), least=1 if full else 3)
    peak = kept.figure("int8_peak_gops", int8_peak)
    rows: list[dict[str, Any]] = []
    with Session(cores) as session:
        for case in chosen:
            names = list(engines) or _engines(case, chosen[0], full)
            specs = {name: ENGINES[name] for name in _with_stand_in(names)}
            results = case_results(session, case, specs, kept, rules)
            rows += compared(case, results, model_settings(case.model), peak)
        session.close_workers()
        if not cases and not engines:
            rows.append(_memory_row(session))
    figures: dict[str, Any] = {"machine": found, "rows": rows, "tried": session.tried}
    figures["formula"] = FORMULA
    if peak is not None:
        figures["int8_peak_gops"] = peak
    if docs is not None:
        write_docs(Path(docs), figures, isa)
    if passing:
        file.unlink(missing_ok=True)
    return figures


def machine_and_versions() -> dict[str, Any]:
    """What figures depend on; earlier results count where it is equal."""
    found = {**machine(), "keras-int8nmt": __version__}
    for name in ("keras", "ctranslate2", "torch", "transformers"):
        if importlib.util.find_spec(name) is not None:
            found[name] = importlib.metadata.version(name)
    library = native.info().get("library")
    if library is not None:
        found["native library"] = hashlib.sha256(Path(library).read_bytes()).hexdigest()[:12]
    return found


def int8_peak() -> float | None:
    """GOP/s of a bare INT8 loop on one core; None without the library or such instructions."""
    return native.int8_peak() or None


def compared(
    case: Case, results: Mapping[str, Result], settings: dict[str, Any], peak: float | None
) -> list[dict[str, Any]]:
    """Rows of a case: ours against each of the others."""
    ours = ours_of(results)
    extra = {
        name: {**figures_of(case, result, settings, peak, "int8" in name), **result.extra}
        for name, result in results.items()
    }
    return [
        compare(ours, peer, case, results, {"figures": {"ours": extra[ours], "peer": extra[peer]}})
        for peer in results
        if peer != ours
    ]


def _engines(case: Case, first: Case, full: bool) -> list[str]:
    if full:
        return list(ENGINES)
    return list(_FIRST_CASE if case == first else _PAIR)


def _with_stand_in(names: list[str]) -> list[str]:
    """With the layer path, where this release has no fast path to compare."""
    if "fast" in paths() or _FAST not in names:
        return names
    return list(dict.fromkeys([*names, _LAYERS]))


def _memory_row(session: Session) -> dict[str, Any]:
    case = Case("base", 4, 32, 1, 27)
    folder, job = session.model_folder(case.model), session.job(case)
    say("memory")
    peaks = [
        translating_memory(folder / form, {**job.to_dict(), "sentences": job.sentences[:32]}) / _MB
        for form in ("int8", "float")
    ]
    return row("memory int8 vs float32", f"{case}, above imports", peaks[0], peaks[1], "MB")
