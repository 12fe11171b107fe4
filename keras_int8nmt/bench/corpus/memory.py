"""The memory of `keras-int8nmt translate` over a long file, watched from outside."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from keras_int8nmt.bench.timing import row
from keras_int8nmt.files.source import count_lines

_PERIOD = 0.5
_MOST_SAMPLES = 400


class Sample(NamedTuple):
    """A moment: seconds since the start, resident 10^6 bytes, lines that are written."""

    seconds: float
    rss_mb: float
    lines: int


def memory_rows(
    model: Path, lines: Iterable[str], count: int, case: str, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Translates `count` lines greedily in a process of its own.

    Returns:
        A row: the most in the second half of the time after a twentieth of the lines, against the
        median of its first twentieth. It has the `samples`.
    """
    with tempfile.TemporaryDirectory(prefix="keras-int8nmt-bench-") as folder:
        source, target = Path(folder) / "source", Path(folder) / "target"
        with source.open("w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
        size = source.stat().st_size / 1e6
        samples, seconds = watch(model, source, target, count, say)
        written = count_lines(target)
    if written != count:
        raise RuntimeError(f"{count} lines became {written}.")
    # All is loaded and every stream has begun.
    settled = [s.rss_mb for s in samples if s.lines >= 0.05 * count]
    if len(settled) < 2:
        raise RuntimeError(f"{count} lines are too few to watch the memory.")
    early, late = settled[: max(1, len(settled) // 20)], settled[len(settled) // 2 :]
    memory = row("memory, late vs early", case, max(late), statistics.median(early), "MB")
    memory |= {"samples": [list(sample) for sample in thinned(samples)]}
    memory |= {"input_mb": size, "lines": count, "seconds": seconds}
    return [memory]


def watch(
    model: Path, source: Path, target: Path, count: int, say: Callable[[str], None]
) -> tuple[list[Sample], float]:
    """Samples of the process that translates `source` into `target`, and its seconds."""
    words = ["translate", str(model), str(source), "-o", str(target), "--beam-size", "1"]
    samples, start, told = [], time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "keras_int8nmt.cli", *words], stderr=errors
        )
        try:
            while process.poll() is None:
                rss, lines = _rss_mb(process.pid), _lines(target)
                if rss is not None and lines is not None:
                    samples.append(Sample(time.perf_counter() - start, rss, lines))
                if lines is not None and lines >= told + count / 10:
                    told = lines
                    say(f"{lines} lines, {rss:.0f} MB" if rss else f"{lines} lines")
                time.sleep(_PERIOD)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"translate failed: {errors.read().strip()}")
    return samples, time.perf_counter() - start


def thinned(samples: list[Sample], most: int = _MOST_SAMPLES) -> list[Sample]:
    """At most `most` of them, evenly, the last one always."""
    step = max(1, -(-len(samples) // most))
    return samples[::-1][::step][::-1]


def _rss_mb(pid: int) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0]) * 1024 / 1e6 if found else None


def _lines(target: Path) -> int | None:
    """What the journal says; None before there is one, and after its end."""
    try:
        return json.loads(target.with_name(target.name + ".progress").read_bytes())["lines"]
    except OSError:
        return None
