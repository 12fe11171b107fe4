"""The documents of a run: a page with a table, memory over loads as a plot, and the figures."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.documents import write_figures, write_section
from keras_int8nmt.bench.startup.loads import slope_kb
from keras_int8nmt.bench.translation.report import table
from keras_int8nmt.bench.translation.session import say

NAME = "benchmarks-startup"
# The page for those who deploy has these figures at its end.
PAGE, TITLE = "deploy.md", "Deploying"

_INTRODUCTION = """\
Written by `keras-int8nmt bench startup --docs docs`. Fresh processes in turns, each from its start
to its end, of one sentence with beam 4; medians, and "spread" is (slowest - fastest) / median of
the side that varied more. A ratio above 1 means that ours is faster, or smaller.
"""
_HEAD = ("what", "case", "ours", "peer", "unit", "ratio", "spread")


def write_docs(folder: Path, figures: dict[str, Any]) -> None:
    """Writes a section of `deploy.md` in `folder`, a plot where matplotlib is, and the figures."""
    named = write_figures(folder, NAME, figures)
    reason = draw(figures["loads"], folder / f"{NAME}.png")
    if reason is not None:
        say(f"no plot: {reason}")
    content = markdown(figures, None if reason else NAME + ".png")
    write_section(folder / PAGE, TITLE, "bench startup", f"{content}\n{named}")


def markdown(figures: dict[str, Any], plot: str | None) -> str:
    """The section of the page."""
    machine = "; ".join(f"{key}: {value}" for key, value in figures["machine"].items())
    parts = [_INTRODUCTION, f"Machine: {machine}.\n"]
    parts.append(table(_HEAD, [_cells(row) for row in figures["rows"]]))
    parts += [_growth_text(name, *growth) for name, growth in figures["growth"].items()]
    parts += [_loads_text(name, sides) for name, sides in figures["loads"].items()]
    if plot is not None:
        parts.append(f"![Resident memory after each load]({plot})\n")
    return "\n".join(parts)


def draw(loads: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> str | None:
    """Draws memory after each load into the file `path`; returns why not, if it can't."""
    if importlib.util.find_spec("matplotlib") is None:
        return "matplotlib is not installed (pip install keras-int8nmt[bench])"
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for model, sides in loads.items():
        for name, resident in sides.items():
            axes.plot(range(1, len(resident) + 1), resident, label=f"{name}, {model}")
    axes.set_ylim(0)
    axes.set_xlabel("loads and frees in one process")
    axes.set_ylabel("resident memory, MB")
    axes.set_title("Memory after each load of an INT8 model")
    axes.legend()
    figure.savefig(path, bbox_inches="tight", dpi=120)
    return None


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    ours, peer = f"{row['ours']:.3g}", f"{row['peer']:.3g}"
    ratio, spread = f"{row['ratio']:.2f}", f"{100 * row['spread']:.0f} %"
    return row["name"], row["case"], ours, peer, row["unit"], ratio, spread


def _growth_text(model: str, grown: float, weights: float) -> str:
    return (
        f"Loading the model {model} grows a process by at most {grown:.1f} MB, "
        f"{grown / weights:.2f} times its weights as they are stored ({weights:.1f} MB).\n"
    )


def _loads_text(model: str, sides: Mapping[str, Sequence[float]]) -> str:
    told = (
        f"{name} {resident[-1]:.1f} MB at the end, {slope_kb(resident):+.1f} KB a load"
        for name, resident in sides.items()
    )
    count = len(next(iter(sides.values())))
    return f"{count} loads and frees of the model {model} in one process: {'; '.join(told)}.\n"
