"""What has been measured, a line of JSON each, so that an interrupted run goes on.

The lines of a case are appended when it is complete. Lines of another machine, or of other builds
of the libraries, are left alone and not used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.translation.cases import Case
from keras_int8nmt.bench.translation.rounds import Result
from keras_int8nmt.files.jsonl import append_entries, read_entries


class State:
    """Results by case and engine, in a file or, without one, in memory alone.

    Args:
        path: The file; made when the first result comes. None: nothing is kept.
        machine: Names the machine and the versions; results count for an equal one only.
    """

    def __init__(self, path: Path | None, machine: dict[str, Any]) -> None:
        self._path = path
        self._machine = json.loads(json.dumps(machine))
        self._results: dict[tuple[str, str], Result] = {}
        self._figures: dict[str, float | None] = {}
        for entry in () if path is None else read_entries(path):
            self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        if entry["machine"] != self._machine:
            return
        if "figure" in entry:
            self._figures[entry["figure"]] = entry["value"]
        else:
            self._results[entry["case"], entry["engine"]] = Result(**entry["result"])

    def get(self, case: Case) -> dict[str, Result]:
        """The results of a case by engine."""
        name = str(case)
        return {engine: r for (of, engine), r in self._results.items() if of == name}

    def add(self, case: Case, results: dict[str, Result]) -> None:
        """Keeps the results of a case; later ones take the place of earlier ones."""
        for engine, result in results.items():
            self._results[str(case), engine] = result
        self._append(
            {"case": str(case), "engine": engine, "result": result.to_dict()}
            for engine, result in results.items()
        )

    def figure(self, name: str, measure: Callable[[], float | None]) -> float | None:
        """A figure of the machine itself, measured once: the rows of one file share it."""
        if name not in self._figures:
            self._figures[name] = measure()
            self._append([{"figure": name, "value": self._figures[name]}])
        return self._figures[name]

    def _append(self, entries: Iterable[dict[str, Any]]) -> None:
        if self._path is not None:
            append_entries(self._path, ({"machine": self._machine, **entry} for entry in entries))
