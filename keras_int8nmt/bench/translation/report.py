"""The documents of a run: JSON, a Markdown table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.documents import write_figures
from keras_int8nmt.bench.translation.plot import draw
from keras_int8nmt.bench.translation.session import say

NAME = "benchmarks-translate"

_INTRODUCTION = """\
# Translation engines side by side

Written by `keras-int8nmt bench translate --docs docs`; how it measures is in
[benchmarks.md](benchmarks.md). Target tokens/s: medians of the turns that engines took one after
the other on the same cores, each in a process of its own. "spread" is (slowest - fastest) / median
of the side that varied more. A case is named by model, search, batch, streams (of one thread each)
and length of the sources.
"""

# What a reader must know to compare; by the engine that differs from ours.
DIFFERENCES = {
    "ctranslate2": (
        "It stops a sentence when as many hypotheses as the beam have ended; ours goes on while a "
        "live one can still beat the best. It takes a forbidden end token out before probabilities "
        "are normalized, ours after. At the greatest length it breaks off, ours adds the end "
        "token; both compute as many steps. Padding, which neither produces, has a bias of -1e9 in "
        "its output. Its own INT8: weights by row, activations scaled at run time, attention and "
        "caches in float; no vocabulary map."
    ),
    "keras-quantize-int8": (
        "The output projection is a layer of its own, since Keras can't quantize a tied one."
    ),
    "transformers-dynamic-int8": (
        "One batch at a time on all cores of the case. It stops by an estimate of what live "
        "hypotheses can still reach."
    ),
}


def write_docs(folder: Path, figures: dict[str, Any], isa: str | None = None) -> None:
    """Writes `benchmarks-translate.md`, `.png` if matplotlib is there, and the figures.

    Where engines were held to an instruction set the names end in it: `benchmarks-translate-avx2`.
    """
    name = NAME if isa is None else f"{NAME}-{isa}"
    named = write_figures(folder, name, figures)
    path = folder / name
    reason = draw(figures, path.with_suffix(".png"))
    if reason is not None:
        say(f"no plot: {reason}")
    content = markdown(figures, plot=None if reason else name + ".png")
    path.with_suffix(".md").write_text(f"{content}\n{named}", encoding="utf-8")


def markdown(figures: dict[str, Any], plot: str | None = None) -> str:
    """The document: machine, table, settings and what differs."""
    rows = figures["rows"]
    machine = "; ".join(f"{key}: {value}" for key, value in figures["machine"].items())
    parts = [_INTRODUCTION, f"Machine: {machine}.\n"]
    if plot is not None:
        parts.append(f"![Target tokens/s by case]({plot})\n")
    parts.append(table(_HEAD, [_cells(row) for row in rows]))
    quality = [cells for row in rows for cells in _quality_cells(row)]
    if quality:
        parts += ["## Quality\n", table(_QUALITY_HEAD, list(dict.fromkeys(quality)))]
    parts += ["## Settings\n", _settings(rows), _tried(figures.get("tried", {}))]
    parts += ["## Differences in meaning\n", _differences(rows), figures["formula"] + "\n"]
    return "\n".join(part for part in parts if part)


_HEAD = ("case", "ours", "peer", "ours", "peer", "ratio", "spread", "turns", "notes")
_QUALITY_HEAD = ("case", "engine", "BLEU", "chrF", "lines equal to ours", "p")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_escaped(cell) for cell in line)} |\n" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    ours, _, peer = row["name"].partition(" vs ")
    turns = row.get("turns", {})
    return (
        row["case"],
        ours,
        peer,
        speed(row["ours"], row["unit"]),
        speed(row["peer"], row["unit"]),
        "" if row["ratio"] is None else f"{row['ratio']:.2f}x",
        "" if row["spread"] is None else f"{100 * row['spread']:.0f} %",
        "/".join(str(count) for count in turns.values()),
        "; ".join(_notes(row)),
    )


def speed(value: float | None, unit: str) -> str:
    """A figure with its unit; nothing where there is none."""
    return "" if value is None else f"{value:.0f} {unit}"


def _notes(row: dict[str, Any]) -> list[str]:
    notes = [row["reason"]] if row.get("reason") else []
    figures = row.get("figures", {}).get("ours", {})
    if "percent_of_int8_peak" in figures:
        percent = figures["percent_of_int8_peak"]
        notes.append(f"ours {'-' if percent is None else f'{percent:.0f}'} % of INT8 peak")
    if "gb_per_second" in figures:
        notes.append(f"ours {figures['gb_per_second']:.1f} GB/s")
    return notes


def _quality_cells(row: dict[str, Any]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    names = row["name"].split(" vs ")
    for name, side in zip(names, ("ours", "peer"), strict=True):
        figures = row.get("figures", {}).get(side, {})
        if "bleu" not in figures:
            continue
        compared = ("", "")
        if side == "peer":
            same = f"{figures['identical_lines']} of {figures['sentences']}"
            compared = (same, f"{figures['p_value']:.3f}")
        scores = (f"{figures['bleu']:.2f}", f"{figures['chrf']:.2f}")
        found.append((row["case"], name, *scores, *compared))
    return found


def _settings(rows: Sequence[dict[str, Any]]) -> str:
    """Each engine's settings, once; those chosen by trial may differ between cases."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        names = row["name"].split(" vs ")
        for name, side in zip(names, ("ours", "peer"), strict=True):
            text = row.get("settings", {}).get(side)
            if text:
                found.setdefault((name, text), []).append(row["case"])
    several = {name for name, _ in found if sum(n == name for n, _ in found) > 1}
    lines = [
        f"- `{name}`: {text}" + (f" ({', '.join(dict.fromkeys(cases))})" if name in several else "")
        for (name, text), cases in found.items()
    ]
    return "".join(line + "\n" for line in lines)


def _tried(tried: dict[str, list[str]]) -> str:
    lines = [f"- {where}: {'; '.join(notes)}\n" for where, notes in tried.items()]
    return (
        "Tried out, one batch a stream (forced translations of at most 12 tokens):\n\n"
        + "".join(lines)
        if lines
        else ""
    )


def _differences(rows: Sequence[dict[str, Any]]) -> str:
    names = {name for row in rows for name in row["name"].split(" vs ")}
    lines = [
        f"- `{prefix}`: {text}\n"
        for prefix, text in DIFFERENCES.items()
        if any(name.startswith(prefix) for name in names)
    ]
    return "".join(lines)
