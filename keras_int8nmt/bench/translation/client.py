"""A worker as its parent sees it: started, asked, closed; every way to fail is one exception."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.bench.translation.engines import EngineSpec, Variant
from keras_int8nmt.errors import KerasInt8nmtError

# Of one request. The slowest, loading with XLA or a large case of a slow engine, take minutes.
TIMEOUT = 1800.0
_SHOWN = 300


class WorkerError(KerasInt8nmtError, RuntimeError):
    """A worker died, failed or can't run; the message says why.

    Attributes:
        alive: Whether it can be asked again.
    """

    def __init__(self, message: str, alive: bool = False) -> None:
        super().__init__(message)
        self.alive = alive


class WorkerProcess:
    """One engine in a process of its own, pinned to `cores`.

    Args:
        spec: The engine.
        variant: The setting of it.
        cores: Numbers of the cores.
        python: The interpreter of an environment in which another release is installed.
    """

    def __init__(
        self,
        spec: EngineSpec,
        variant: Variant,
        cores: Sequence[int],
        python: str | None = None,
    ) -> None:
        self.name = spec.name
        self.settings = ""
        self.tried: list[str] = []  # what was measured to choose this variant
        self._factory, self._options = spec.factory, {**spec.options, **variant.options}
        # Its end is the reason when the process dies.
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **variant.environment}
        if python is not None:
            # It must find its own release, and not this one.
            environment.pop("PYTHONPATH", None)
        self._process = subprocess.Popen(
            [
                python or sys.executable,
                "-m",
                "keras_int8nmt.bench.translation.worker",
                _joined(cores),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment,
            cwd=None if python is None else tempfile.gettempdir(),
        )

    def load(self, folder: Path) -> None:
        """Loads the model of `models.build`'s folder."""
        reply = self.ask("load", factory=self._factory, folder=str(folder), options=self._options)
        self.settings = reply["settings"]

    def prepare(self, name: str, job: Job) -> None:
        self.ask("prepare", job=name, **job.to_dict())

    def run(self, name: str) -> tuple[float, int]:
        """Seconds that the worker measured, and target tokens."""
        reply = self.ask("run", job=name)
        return reply["seconds"], reply["tokens"]

    def results(self, name: str) -> list[list[int]]:
        return self.ask("results", job=name)["ids"]

    def ask(self, do: str, timeout: float = TIMEOUT, **fields: Any) -> dict[str, Any]:
        """Sends a request and waits for its reply.

        Raises:
            WorkerError: when the engine failed, the process ended, or the time is over.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerError(self._last_words()) from None
        reply = self._read_line(timeout)
        if "error" in reply:
            raise WorkerError(_shortened(reply["error"]), alive=True)
        return reply

    def _read_line(self, timeout: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        pipe, content = self._process.stdout.fileno(), b""
        end = time.monotonic() + timeout
        while not content.endswith(b"\n"):
            ready, _, _ = select.select([pipe], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                self.close()
                raise WorkerError(f"no answer in {timeout:.0f} s")
            piece = os.read(pipe, 1 << 20)
            if not piece:
                raise WorkerError(self._last_words())
            content += piece
        return json.loads(content)

    def _last_words(self) -> str:
        status = self._process.wait()
        self._stderr.seek(0)
        lines = [line.strip() for line in self._stderr.read().splitlines() if line.strip()]
        end = f"died of signal {-status}" if status < 0 else f"exited with status {status}"
        return _shortened(f"{end}: {lines[-1]}" if lines else end)

    def close(self) -> None:
        """Ends the process; it is not asked whether it agrees."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._stderr):
            # Broken by a request that it never read.
            with contextlib.suppress(BrokenPipeError):
                if file is not None:
                    file.close()


def _joined(cores: Sequence[int]) -> str:
    return ",".join(str(core) for core in cores)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 3] + "..."


def available_cores() -> list[int]:
    """Numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
