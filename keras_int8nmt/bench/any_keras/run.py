"""Each model, with each number of threads, in a process of its own; ours beside its peers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.any_keras.cases import CASES, NANO, Case
from keras_int8nmt.bench.any_keras.engines import PEERS
from keras_int8nmt.bench.any_keras.report import write_docs
from keras_int8nmt.bench.timing import Measurement, machine, row
from keras_int8nmt.bench.translation.client import available_cores
from keras_int8nmt.bench.translation.session import say

_TURNS = 5
_SECONDS = 900
_WANTED_SHARE = 90.0
_LIBRARIES = ("keras", "keras-hub", "onnxruntime", "tf2onnx", "openvino", "nncf")


def run_keras(
    cases: Sequence[str] = (),
    engines: Sequence[str] = (),
    docs: str | None = None,
    turns: int = _TURNS,
) -> dict[str, Any]:
    """Makes each model INT8 as a user would, and measures it.

    Args:
        cases: Names of `CASES`; none: all of them.
        engines: Names of `PEERS` to compare with; none: all of them.
        docs: Folder to write a page into.
        turns: Of each engine, with each batch and number of threads.

    Returns:
        `machine`, `models` (by case, what its processes found: products, errors, reasons, seconds
        by batch and engine) and `rows`: of each model the products and the share of multiplications
        in INT8, the relative error of its outputs, and the time of a call beside each peer. What
        can't be measured is a row with the reason.
    """
    peers = list(engines or PEERS)
    models: dict[str, Any] = {}
    for name in cases or CASES:
        case = {**CASES, **NANO}[name]
        models[name] = {"case": _settings(case), "threads": _processes(name, case, peers, turns)}
    found = [line for name, model in models.items() for line in rows_of(name, model["threads"])]
    figures = {"machine": {**machine(), **versions(_LIBRARIES)}, "rows": found, "models": models}
    if docs is not None:
        write_docs(Path(docs), figures)
    return figures


def _settings(case: Case) -> dict[str, Any]:
    return {"settings": dict(case.settings), "batches": case.batches}


def _processes(name: str, case: Case, peers: list[str], turns: int) -> dict[str, Any]:
    """By number of threads, what the process found, or `failed` with the reason."""
    reason = case.why_not()
    cores = available_cores()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="keras-int8nmt-bench-") as folder:
        for threads in case.threads:
            if reason is None and threads > len(cores):
                found[str(threads)] = {"failed": f"more threads than cores, {len(cores)}"}
                continue
            if reason is not None:
                found[str(threads)] = {"failed": reason}
                continue
            say(f"{name}, {threads} thread{'s' if threads > 1 else ''}")
            request = {"case": name, "threads": threads, "peers": peers, "turns": turns}
            found[str(threads)] = _measured({**request, "cores": cores[:threads], "folder": folder})
    return found


def _measured(request: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", f"{__package__}.worker", json.dumps(request)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {_SECONDS} s"}
    if done.returncode < 0:
        end = signal.Signals(-done.returncode).name
        return {"failed": f"ended by {end}" + (", as where memory runs out" * (end == "SIGKILL"))}
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        return {"failed": words[-1][:300]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rows_of(name: str, by_threads: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a model: what became of it, then its times."""
    done = [found for found in by_threads.values() if "failed" not in found]
    rows = _facts(name, done[0]) if done else []
    for threads, found in by_threads.items():
        if "failed" in found:
            rows.append(_missing("call", f"{name} t{threads}", found["failed"]))
            continue
        for batch, seconds in found["seconds"].items():
            case = f"{name} b{batch} t{threads}"
            times = {engine: Measurement.of(each) for engine, each in seconds.items()}
            ours = times.pop("ours")
            for peer, time in times.items():
                spread = max(ours.spread, time.spread)
                timed = (1e3 * ours.median, 1e3 * time.median)
                rows.append(row(f"call vs {peer}", case, *timed, "ms", spread=spread))
    # Of the first number of threads with which an engine is missing.
    reasons = {engine: why for found in done[::-1] for engine, why in found["reasons"].items()}
    for engine, reason in reasons.items():
        rows.append(_missing(f"call vs {engine}", name, reason))
    return rows


def _facts(name: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    products, errors = found["products"], found["errors"]
    note = f"{products['int8']} of {products['int8'] + products['float32']} products in INT8"
    floats = "; ".join(f"{count} x {why}" for why, count in products["reasons"].items())
    share = products["share"]
    first = (
        _missing("multiplications in INT8", name, f"{note}; none counted")
        if share is None
        else row(
            "multiplications in INT8",
            name,
            100 * share,
            _WANTED_SHARE,
            "%",
            smaller_is_better=False,
        )
    )
    first["note"] = f"{note}; float: {floats}" if floats else note
    error = _missing("relative error vs keras-int8", name, "")
    error["ours"], error["peer"] = errors["ours"], errors.get("keras-int8")
    if error["peer"]:
        error["ratio"] = error["peer"] / error["ours"] if error["ours"] else None
    return [first, error]


def _missing(name: str, case: str, reason: str) -> dict[str, Any]:
    figures = dict.fromkeys(("ours", "peer", "ratio", "spread"))
    return {"name": name, "case": case, "unit": "", **figures, "reason": reason}


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """Of distributions, or that one is not installed."""
    found = {}
    for name in libraries:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
