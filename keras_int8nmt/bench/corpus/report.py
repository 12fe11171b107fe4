"""The documents of a run: JSON, Markdown tables, and memory over time as a plot."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from keras_int8nmt.bench import plots
from keras_int8nmt.bench.documents import read_figures, write_figures, write_section
from keras_int8nmt.bench.translation.report import table
from keras_int8nmt.bench.translation.session import say

NAME = "benchmarks-corpus"
# The page that tells users how to translate a corpus has these figures at its end.
PAGE, TITLE = "corpus.md", "Translating a corpus"

_INTRODUCTION = """\
Written by `keras-int8nmt bench corpus --docs docs`. Medians of turns that alternate; "spread" is
(slowest - fastest) / median of the side that varied more.
"""
_HEAD = ("what", "case", "ours", "peer", "unit", "ratio", "spread")
_SORTING_HEAD = (*_HEAD[:5], "padded tokens, ratio", "time, ratio", "the paper's", "spread")


def write_docs(folder: Path, figures: dict[str, Any]) -> None:
    """Writes a section of `corpus.md` in `folder`, a plot where matplotlib is, and the figures."""
    named = write_figures(folder, NAME, figures)
    reason = draw(figures, folder / f"{NAME}.png")
    if reason is not None:
        say(f"no plot: {reason}")
    content = markdown(figures, None if reason else NAME + ".png")
    write_section(folder / PAGE, TITLE, "bench corpus", f"{content}\n{named}")


def kept_rows(folder: Path, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows that `write_docs` wrote on an equal machine, of parts that `figures` has none of."""
    earlier = read_figures(folder, NAME)
    if earlier is None or earlier["machine"] != json.loads(json.dumps(figures["machine"])):
        return []
    measured = {row["part"] for row in figures["rows"]}
    return [row for row in earlier["rows"] if row["part"] not in measured]


def markdown(figures: dict[str, Any], plot: str | None) -> str:
    """The section of the page: machine, tables and plot."""
    rows = figures["rows"]
    machine = "; ".join(f"{key}: {value}" for key, value in figures["machine"].items())
    parts = [_INTRODUCTION, f"Machine: {machine}.\n"]
    sorting = [row for row in rows if "padded" in row]
    if sorting:
        parts += ["### Sorting\n", table(_SORTING_HEAD, [_sorting_cells(row) for row in sorting])]
    others = [row for row in rows if "padded" not in row]
    if others:
        parts += ["### Streams, files, memory\n", table(_HEAD, [_cells(row) for row in others])]
    parts += [_memory_text(row) for row in rows if "samples" in row]
    if plot is not None:
        parts.append(f"![Memory over time]({plot})\n")
    return "\n".join(parts)


def draw(figures: dict[str, Any], path: Path) -> str | None:
    """Draws memory and lines over time into the file `path`; returns why not, if it can't."""
    found = [row for row in figures["rows"] if "samples" in row]
    if not found:
        return "memory was not measured"
    if not plots.available():
        return plots.NO_MATPLOTLIB
    row = found[0]
    seconds, rss, lines = zip(*row["samples"], strict=True)
    minutes = [s / 60 for s in seconds]
    figure = plots.new_figure(8, 5)
    memory, written = figure.subplots(2, 1, sharex=True)
    memory.plot(minutes, rss, color=plots.COLOURS[0])
    memory.set_ylim(0, 1.25 * max(rss))
    memory.set_ylabel("resident memory, MB")
    memory.annotate(f"at most {max(rss):.0f} MB", (minutes[-1], max(rss)), (0, 6),
                    textcoords="offset points", ha="right")  # fmt: skip
    written.plot(minutes, [count / 1000 for count in lines], color=plots.COLOURS[5])
    written.set_ylim(0)
    written.set_ylabel("lines written, thousands")
    written.set_xlabel("time, minutes")
    for axes in (memory, written):
        plots.bare(axes)
    title = f"Translating a file of {row['lines']:,} lines ({row['input_mb']:.0f} MB)"
    note = f"One run: {_words(row['case'])}."
    plots.save(figure, path, title, figures["machine"], note)
    return None


def _words(case: str) -> str:
    """A case for people.

    Example:

        >>> _words("tiny beam1 b32, 1000000 lines")
        'built-in model, greedy, batches of 32, 1000000 lines'
    """
    model, _, rest = case.partition(" ")
    rest = re.sub(r"\bbeam1\b", "greedy,", rest)
    rest = re.sub(r"\bbeam(\d+)", r"beam \1,", rest)
    rest = re.sub(r"\bb(\d+)\b", r"batches of \1", rest)
    return ", ".join(filter(None, [plots.model_name(model), rest]))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    spread = "-" if row["spread"] is None else f"{100 * row['spread']:.0f} %"
    ours, peer = f"{row['ours']:.4g}", f"{row['peer']:.4g}"
    return row["name"], row["case"], ours, peer, row["unit"], f"{row['ratio']:.2f}", spread


def _sorting_cells(row: dict[str, Any]) -> tuple[str, ...]:
    *first, ratio, spread = _cells(row)
    paper = "-" if row["paper"] is None else f"{row['paper']:.2f}"
    return *first, f"{row['padded']:.2f}", ratio, paper, spread


def _memory_text(row: dict[str, Any]) -> str:
    return (
        f"{row['lines']} lines, {row['input_mb']:.0f} MB of text, in {row['seconds']:.0f} s: "
        f"{row['peer']:.0f} MB resident after a twentieth of them, at most {row['ours']:.0f} MB in "
        "the second half of the time.\n"
    )
