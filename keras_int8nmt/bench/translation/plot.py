"""The plot: target tokens/s of the engines, a panel for each case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_int8nmt.bench import plots
from keras_int8nmt.bench.translation.cases import Case

# More would not be told apart; the headline cases come first.
_MOST_CASES = 6


def speeds(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By case and engine, of the rows that have speeds."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["unit"] != "tokens/s":
            continue
        for name, side in zip(row["name"].split(" vs "), ("ours", "peer"), strict=True):
            if row[side] is not None:
                found.setdefault(row["case"], {})[name] = row[side]
    return found


def case_name(name: str) -> str:
    """A case for people.

    Example:

        >>> case_name("base beam4 b32 s2 27tok")
        'Transformer base, beam 4, batches of 32 on 2 cores, sources of 27 tokens'
    """
    case = Case.parse(name)
    search = "greedy" if case.beam == 1 else f"beam {case.beam}"
    cores = "1 core" if case.streams == 1 else f"{case.streams} cores"
    batches = "one sentence at a time" if case.batch == 1 else f"batches of {case.batch}"
    sources = f"sources of {case.source_tokens} tokens" if case.forced else "real sentences"
    return f"{plots.model_name(case.model)}, {search}, {batches} on {cores}, {sources}"


def draw(figures: dict[str, Any], path: Path) -> str | None:
    """Draws the figures of a run into the file `path`; returns why not, if it can't."""
    rows = figures["rows"]
    found = dict(list(speeds(rows).items())[:_MOST_CASES])
    if not found:
        return "no case has a speed"
    if not plots.available():
        return plots.NO_MATPLOTLIB
    engines = list(dict.fromkeys(name for case in found.values() for name in case))
    heights = [len(case) + 1.6 for case in found.values()]
    figure = plots.new_figure(9, 1.1 + 0.3 * sum(heights))
    panels = figure.subplots(len(found), 1, height_ratios=heights, squeeze=False, sharex=True)[:, 0]
    for axes, (case, speed) in zip(panels, found.items(), strict=True):
        of_case = [row for row in rows if row["case"] == case]
        for place, (engine, value) in enumerate(speed.items()):
            reach = plots.error_bars(of_case, engine)
            colour = plots.COLOURS[engines.index(engine) % len(plots.COLOURS)]
            plots.bar(axes, place, value, reach, colour, f"{value:,.0f}")
        axes.set_yticks(range(len(speed)), map(plots.engine_name, speed), fontsize=9)
        axes.invert_yaxis()
        axes.set_title(case_name(case), fontsize=9, loc="left")
        plots.bare(axes)
    longest = max(value for case in found.values() for value in case.values())
    panels[-1].set_xlim(0, 1.2 * longest)
    panels[-1].set_xlabel("target tokens a second (more is better)")
    turns = [count for row in rows for count in row.get("turns", {}).values()]
    plots.save(
        figure,
        path,
        "Speed of translation engines on a CPU",
        figures["machine"],
        _note(rows, max(turns, default=1)),
    )
    return None


def _note(rows: Sequence[dict[str, Any]], turns: int) -> str:
    note = f"Bars: medians of {turns} turns that engines took in turns."
    if all("ranges" in row for row in rows if row["spread"] is not None):
        return note + " Lines: slowest to fastest turn."
    return note + " Lines: spread, at most so far from slowest to fastest."
