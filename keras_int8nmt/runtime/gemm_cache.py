"""The file that keeps which back end was fastest, by machine and shape.

It lies in the user's folder of caches, is a few kilobytes, and holds nothing but times: whoever
removes or damages it has them measured again. `KERAS_INT8NMT_CACHE` names another folder, or is 0
for no file at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_int8nmt import native
from keras_int8nmt._arguments import MOST_INT32
from keras_int8nmt._untrusted import json_object, read_bytes
from keras_int8nmt.errors import KerasInt8nmtError

VARIABLE = "KERAS_INT8NMT_CACHE"
FILE = "gemm.json"
_FOLDER = "keras-int8nmt"
_FORMAT = 1
# Of the file: what is more is not ours. The oldest machines and shapes make room for new ones.
_MOST_BYTES, _MOST_MACHINES, _MOST_SHAPES, _MOST_NAME = 1 << 20, 8, 200, 40
# What holds a library to less than the CPU has, or names another one.
_VARIABLES = (
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_CPU_ISA_HINTS",
    "DNNL_CPU_ISA_HINTS",
    "KERAS_INT8NMT_MKL",
)
# What tells one kind of CPU from another in /proc/cpuinfo, on x86 and on ARM.
_CPU_LINES = (
    "vendor_id",
    "cpu family",
    "model",
    "model name",
    "stepping",
    "cache size",
    "flags",
    "CPU implementer",
    "CPU variant",
    "CPU part",
    "CPU revision",
    "Features",
)

Shape = tuple[int, int]


class Measured(NamedTuple):
    """What was measured of a shape.

    Attributes:
        fastest: The name of the back end.
        columns: How many columns were multiplied; 0 where there was no other candidate.
        seconds: By name, of a product of each count of rows; 0.0 where it was not measured.
    """

    fastest: str
    columns: int
    seconds: dict[str, tuple[float, ...]]


class _CacheError(KerasInt8nmtError, ValueError):
    """The file is not one of ours; nobody is told."""


class GemmCache:
    """What one machine's part of the file knows.

    Args:
        path: The file; None: nothing is kept.
        key: Names the machine and the build of the library.
        cpu: For people who look into the file.
        counts: How many counts of rows are measured.

    Attributes:
        known: By shape.
    """

    def __init__(self, path: Path | None, key: str, cpu: str, counts: int) -> None:
        self._path, self._key, self._cpu, self._counts = path, key, cpu, counts
        self.known: dict[Shape, Measured] = {}
        if path is not None:
            with contextlib.suppress(_CacheError):
                self.known = self._shapes_of(self._read(path).get(key))

    @classmethod
    def of_this_machine(cls) -> GemmCache:
        """That of this process: its CPU, and what the environment makes of it."""
        folder = cache_folder()
        if folder is None:
            return cls(None, "", "", 0)
        info, choice = native.info(), native.gemm_choice()
        cpu = _cpu()
        facts = [
            cpu,
            info["isa"],
            choice["build"],
            choice["rows"],
            [os.environ.get(name, "") for name in _VARIABLES],
            [file.stat().st_size for file in sorted(native.FOLDER.glob("libdnnl.so*"))],
        ]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        name = f"{cpu.get('model name', platform.machine())}, {info['isa']}"
        return cls(folder / FILE, key, name, len(choice["rows"]))

    def add(self, found: Mapping[Shape, Measured]) -> None:
        """Keeps what was measured, in memory and, where that can be written, in the file.

        What another process has written meanwhile stays, but for what two write at the same moment.
        """
        self.known.update(found)
        if self._path is None:
            return
        machines: dict[str, Any] = {}
        with contextlib.suppress(_CacheError):
            machines = self._read(self._path)
            # Of others, and of another release: kept as far as it is what it should be.
            machines = {key: each for key, each in machines.items() if isinstance(each, dict)}
        with contextlib.suppress(_CacheError):
            self.known = {**self._shapes_of(machines.get(self._key)), **self.known}
        machines.pop(self._key, None)
        shapes = list(self.known.items())[-_MOST_SHAPES:]
        machines[self._key] = {
            "cpu": self._cpu,
            "shapes": {f"{k}x{n}": each._asdict() for (k, n), each in shapes},
        }
        kept = dict(list(machines.items())[-_MOST_MACHINES:])
        content = json.dumps({"format": _FORMAT, "machines": kept})
        if len(content) <= _MOST_BYTES:
            _write(self._path, content.encode())

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        """The machines of the file.

        Raises:
            _CacheError: where there is none, or it is not ours.
        """
        content = json_object(path, read_bytes(path, _MOST_BYTES, _CacheError), _CacheError)
        machines = content.get("machines")
        if content.get("format") != _FORMAT or not isinstance(machines, dict):
            raise _CacheError(f"{str(path)!r} has another format.")
        return machines

    def _shapes_of(self, machine: Any) -> dict[Shape, Measured]:
        """The shapes of a machine's part.

        Raises:
            _CacheError: where a part of it is not what it should be.
        """
        shapes = machine.get("shapes") if isinstance(machine, dict) else {}
        if not isinstance(shapes, dict) or len(shapes) > _MOST_SHAPES:
            raise _CacheError("shapes")
        return {_shape(name): self._measured_of(entry) for name, entry in shapes.items()}

    def _measured_of(self, entry: Any) -> Measured:
        if not isinstance(entry, dict) or set(entry) != set(Measured._fields):
            raise _CacheError("a shape")
        fastest, columns, seconds = (entry[name] for name in Measured._fields)
        if (
            not isinstance(seconds, dict)
            or fastest not in list(seconds)
            or type(columns) is not int
        ):
            raise _CacheError("a shape")
        return Measured(
            fastest, columns, {_name(name): self._times(times) for name, times in seconds.items()}
        )

    def _times(self, times: Any) -> tuple[float, ...]:
        if not isinstance(times, list) or len(times) != self._counts:
            raise _CacheError("times")
        if not all(type(t) in (int, float) and 0.0 <= t < math.inf for t in times):
            raise _CacheError("times")
        return tuple(map(float, times))


def cache_folder() -> Path | None:
    """Where caches of this package lie; None: nowhere."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen == "0":
        return None
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME", "")
    # A relative one is to be ignored, as the standard has it.
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, _FOLDER) if os.path.isabs(base) else None


def _shape(name: str) -> Shape:
    k, cross, n = name.partition("x")
    if not (cross and k.isdecimal() and n.isdecimal() and len(name) < _MOST_NAME):
        raise _CacheError("the name of a shape")
    if max(int(k), int(n)) > MOST_INT32:
        raise _CacheError("the name of a shape")
    return int(k), int(n)


def _name(name: str) -> str:
    if not 0 < len(name) < _MOST_NAME:
        raise _CacheError("the name of a back end")
    return name


def cpu_name() -> str:
    """The name of this machine's CPU, as its system tells it."""
    return _cpu().get("model name", platform.machine()) or "unknown"


def _cpu() -> dict[str, str]:
    """What /proc tells of the first core; of a large machine it takes long to read all of it."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            if not line.strip():
                break
            if name.strip() in _CPU_LINES:
                found[name.strip()] = value.strip()
    return found or {"model name": platform.processor() or platform.machine()}


def _write(path: Path, content: bytes) -> None:
    """In one piece or not at all; a folder that can't be written is none of the user's troubles."""
    # Here: it takes longer to import than all the rest, and is needed once a machine.
    import tempfile

    draft = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except OSError:
        if draft is not None:
            with contextlib.suppress(OSError):
                os.unlink(draft)
