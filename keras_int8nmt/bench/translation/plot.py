"""The plot: target tokens/s of the engines, a group of bars for each case."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def draw(rows: Sequence[dict[str, Any]], path: Path) -> str | None:
    """Draws into the file `path`; returns why not, if it can't."""
    found = dict(list(speeds(rows).items())[:_MOST_CASES])
    if not found:
        return "no case has a speed"
    if importlib.util.find_spec("matplotlib") is None:
        return "matplotlib is not installed (pip install keras-int8nmt[bench])"
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    engines = list(dict.fromkeys(name for case in found.values() for name in case))
    figure = Figure(figsize=(9, 1.5 + 0.28 * sum(len(case) + 1 for case in found.values())))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    y, ticks, names = 0.0, [], []
    for case, engines_of_case in found.items():
        top = y
        for engine in engines:
            if engine in engines_of_case:
                value = engines_of_case[engine]
                axes.barh(y, value, 0.9, color=f"C{engines.index(engine)}")
                axes.annotate(f" {engine} {value:.0f}", (value, y), va="center", fontsize=8)
                y += 1
        ticks.append((top + y - 1) / 2)
        names.append(case)
        y += 1
    axes.set_yticks(ticks, names)
    axes.invert_yaxis()
    axes.set_xlabel("target tokens/s")
    axes.set_xlim(0, 1.3 * max(value for case in found.values() for value in case.values()))
    figure.savefig(path, bbox_inches="tight", dpi=120)
    return None
