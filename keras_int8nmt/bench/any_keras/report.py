"""The page of a run: what became INT8 and how far off it is, then speeds beside each peer."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.any_keras.engines import PEERS
from keras_int8nmt.bench.documents import write_figures, write_section
from keras_int8nmt.bench.timing import Measurement
from keras_int8nmt.bench.translation.report import table

NAME = "benchmarks-keras"
TITLE = "Any Keras model: measured"

_INTRODUCTION = """\
Written by `keras-int8nmt bench keras --docs docs`. Models as people write them, unchanged, with
random weights: `quantize_model`, calibrated on one batch of 8, `convert`. "Share" is that of the
multiplications in INT8. "Error" is the root mean square of the difference from the float model's
outputs over that of the outputs (of `generate`: the share of tokens that differ); random weights
tell of arithmetic and not of accuracy in use.
"""
_SPEEDS = """\
Milliseconds of ours for one call of a traced function on a fixed batch (`generate` as a whole), and
how many times as long each peer takes: above 1, ours is faster. Engines take turns in one process
for each number of threads, which is kept on as many cores; medians, and "spread" is (slowest -
fastest) / median of the side that varied most; five turns, three of what takes over half a second.
`keras-xla`: `jit_compile=True`, as in `predict` after `compile`. `keras-int8`: Keras'
`quantize("int8")`. ONNX Runtime (dynamic) and OpenVINO with NNCF (static) have Keras' own ONNX
export of the float model.
"""


def write_docs(folder: Path, figures: dict[str, Any]) -> None:
    """Writes the section of the page `benchmarks-keras.md` in `folder`, and the figures."""
    named = write_figures(folder, NAME, figures)
    write_section(folder / f"{NAME}.md", TITLE, "bench keras", f"{markdown(figures)}\n{named}")


def markdown(figures: dict[str, Any]) -> str:
    """The section of the page."""
    machine = "; ".join(f"{key}: {value}" for key, value in figures["machine"].items())
    models = figures["models"]
    facts = [_fact_cells(name, model["threads"]) for name, model in models.items()]
    head = ("model", "products INT8 / float", "share", "error", "error, keras-int8", "in float")
    speeds = [
        cells for name, model in models.items() for cells in _speed_cells(name, model["threads"])
    ]
    missing = list(dict.fromkeys(_missing_lines(models)))
    parts = [_INTRODUCTION, f"Machine: {machine}.\n", table(head, facts), _SPEEDS]
    parts.append(table(("model", "batch", "threads", "ours, ms", *PEERS, "spread"), speeds))
    if missing:
        parts.append("What is missing, and why:\n\n" + "".join(f"- {line}\n" for line in missing))
    return "\n".join(parts)


def _fact_cells(name: str, by_threads: dict[str, Any]) -> tuple[str, ...]:
    done = [found for found in by_threads.values() if "failed" not in found]
    if not done:
        return (name, *["-"] * 4, next(iter(by_threads.values()))["failed"])
    products, errors = done[0]["products"], done[0]["errors"]
    share = "-" if products["share"] is None else f"{100 * products['share']:.1f} %"
    if products["uncounted"]:
        share += f" ({products['uncounted']} not counted)"
    return (
        name,
        f"{products['int8']} / {products['float32']}",
        share,
        f"{errors['ours']:.2g}",
        f"{errors['keras-int8']:.2g}" if "keras-int8" in errors else "-",
        "; ".join(f"{count} x {why}" for why, count in products["reasons"].items()),
    )


def _speed_cells(name: str, by_threads: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for threads, found in by_threads.items():
        for batch, seconds in found.get("seconds", {}).items():
            ours = statistics.median(seconds["ours"])
            ratios = (
                f"{statistics.median(seconds[peer]) / ours:.2f}" if peer in seconds else "-"
                for peer in PEERS
            )
            spread = max(Measurement.of(each).spread for each in seconds.values())
            yield name, batch, threads, f"{1e3 * ours:.3g}", *ratios, f"{100 * spread:.0f} %"


def _missing_lines(models: dict[str, Any]) -> Iterator[str]:
    for name, model in models.items():
        for threads, found in model["threads"].items():
            if "failed" in found:
                yield f"{name}, {threads} threads: {found['failed']}"
            for engine, reason in found.get("reasons", {}).items():
                yield f"{name}, {engine}: {reason}"
