"""The documents of a run: a page with a table, memory over loads as a plot, and the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_int8nmt.bench import plots
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
    reason = draw(figures, folder / f"{NAME}.png")
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
        parts.append(f"![Time and memory of one sentence, memory after each load]({plot})\n")
    return "\n".join(parts)


def draw(figures: dict[str, Any], path: Path) -> str | None:
    """Draws time, memory and memory after each load into `path`; returns why not, if it can't."""
    if not plots.available():
        return plots.NO_MATPLOTLIB
    figure = plots.new_figure(10, 6.5)
    grid = figure.add_gridspec(2, 2)
    seconds, megabytes = (figure.add_subplot(grid[0, column]) for column in (0, 1))
    _draw_rows(seconds, [row for row in figures["rows"] if row["unit"] == "s"])
    seconds.set_title("From the start of a process to its end, one sentence", fontsize=9)
    seconds.set_xlabel("seconds (less is better)")
    _draw_rows(megabytes, [row for row in figures["rows"] if row["unit"] == "MB"])
    megabytes.set_title("Its peak memory", fontsize=9)
    megabytes.set_xlabel("MB (less is better)")
    _draw_loads(figure.add_subplot(grid[1, :]), figures["loads"])
    note = "Bars: medians of fresh processes that took turns; lines: spread, slowest to fastest."
    plots.save(figure, path, "Starting to translate", figures["machine"], note)
    return None


def _draw_rows(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    """A group of bars for each model: what needs no Keras, and the peer."""
    ticks: list[tuple[float, str]] = []
    place = 0.0
    for case in dict.fromkeys(row["case"] for row in rows):
        # Where Keras is imported it takes thirty times as long: the table tells it.
        of_case = [r for r in rows if r["case"] == case and "Keras" not in r["name"]]
        sides: dict[str, float] = {}
        for row in of_case:
            names = row["name"].split(" vs ")
            sides |= dict(zip(names, (row["ours"], row["peer"]), strict=True))
        for name, value in sides.items():
            reach = plots.error_bars(of_case, name)
            colour = plots.COLOURS[1 if name == "CTranslate2" else 0]
            plots.bar(axes, place, value, reach, colour, f"{value:.3g}")
            ticks.append((place, f"{name}, {plots.model_name(case.partition(',')[0])}"))
            place += 1
        place += 0.5
    axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks], fontsize=8)
    axes.set_xlim(0, 1.25 * axes.get_xlim()[1])
    axes.invert_yaxis()
    plots.bare(axes)


def _draw_loads(axes: Any, loads: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    for model, dashes in zip(loads, ("-", "--", ":", "-."), strict=False):
        for name, resident in loads[model].items():
            axes.plot(
                range(1, len(resident) + 1),
                resident,
                dashes,
                color=plots.COLOURS[1 if name == "CTranslate2" else 0],
                label=f"{plots.engine_name(name)}, {plots.model_name(model)}",
            )
    axes.set_ylim(0)
    axes.set_xlabel("loads of an INT8 model in one process, each freed before the next")
    axes.set_ylabel("resident memory, MB")
    axes.set_title("Memory after each load", fontsize=9)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.22), "ncol": 2}
    axes.legend(fontsize=8, frameon=False, **below)
    plots.bare(axes)


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
