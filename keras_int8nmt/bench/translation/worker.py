"""The child process of one engine: lines of JSON in on stdin and out on the stdout it was given.

Requests have `do`; each has one reply, with `error` when it failed:

    load     `factory`, `folder`, `options`   -> `settings`
    prepare  `job`, and the fields of a Job   -> nothing
    run      `job`                            -> `seconds`, `cpu_seconds`, `tokens`
    results  `job`                            -> `ids`: what the last run of the job gave

Between requests it waits for its pipe and takes no time from another engine. Nothing but the
standard library is imported before the process is pinned, so that every thread of every library
inherits the cores.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO


class Worker:
    """Answers requests with one engine."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._engine: Any = None
        self._prepared: dict[str, Any] = {}
        self._results: dict[str, list[list[int]]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carries a request out; `error` and `unavailable` tell of an engine that can't."""
        from keras_int8nmt.bench.translation.engines import UnavailableError

        fields = {key: value for key, value in request.items() if key != "do"}
        actions: dict[str, Callable[..., dict[str, Any]]] = {
            "load": self._load,
            "prepare": self._prepare,
            "run": self._run,
            "results": lambda job: {"ids": self._results[job]},
        }
        try:
            return actions[request["do"]](**fields)
        except (UnavailableError, ImportError) as error:
            return {"error": f"not available: {error}", "unavailable": True}
        except Exception as error:  # a row of the table, whatever it is
            return {"error": f"{type(error).__name__}: {error}", "unavailable": False}

    def _load(self, factory: str, folder: str, options: dict[str, Any]) -> dict[str, Any]:
        module, _, name = factory.partition(":")
        make = getattr(importlib.import_module(module), name)
        self._engine = make(Path(folder), self._cores, **options)
        return {"settings": self._engine.settings}

    def _prepare(self, job: str, **fields: Any) -> dict[str, Any]:
        from keras_int8nmt.bench.translation.cases import Job

        self._prepared[job] = self._engine.prepare(Job(**fields))
        return {}

    def _run(self, job: str) -> dict[str, Any]:
        start, cpu_start = time.perf_counter(), time.process_time()
        found = self._engine.run(self._prepared[job])
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        self._results[job] = [[int(i) for i in ids] for ids in found]
        tokens = sum(map(len, found))
        return {"seconds": seconds, "cpu_seconds": cpu_seconds, "tokens": tokens}


def pin(cores: list[int]) -> None:
    """Keeps this process, and the threads that it will start, on `cores`."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def serve(worker: Worker, requests: TextIO, replies: TextIO) -> None:
    """Answers until the parent closes the pipe."""
    for line in requests:
        replies.write(json.dumps(worker.answer(json.loads(line))) + "\n")
        replies.flush()


def main() -> None:
    cores = [int(core) for core in sys.argv[1].split(",")]
    pin(cores)
    # What libraries print on stdout must not end up between the replies.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(Worker(len(cores)), sys.stdin, replies)


if __name__ == "__main__":
    main()
