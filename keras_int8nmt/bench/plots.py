"""What the plots of benchmarks share: a figure, names for people, the machine, and error bars."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

NO_MATPLOTLIB = "matplotlib is not installed (pip install keras-int8nmt[bench])"

# Colours that people with any colour vision tell apart (Okabe and Ito), also when printed in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F")
_SMALL = 8

_ENGINES = {
    "int8-fast": "keras-int8nmt, INT8",
    "int8-layers": "keras-int8nmt, INT8 on Keras layers",
    "float32-fast": "keras-int8nmt, float32",
    "float32-layers": "keras-int8nmt, float32 on Keras layers",
    "ours": "keras-int8nmt",
    "ctranslate2": "CTranslate2",
    "keras-float32": "Keras, float32",
    "keras-quantize-int8": "Keras quantize('int8')",
    "transformers-dynamic-int8": "Transformers, dynamic INT8",
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
    "marian": "Marian",
}
_PRECISIONS = {"int8": "INT8", "int16": "INT16", "float32": "float32", "bfloat16": "bfloat16"}
_MODELS = {
    "base": "Transformer base",
    "base7": "Transformer base, 7-bit weights",
    "bell": "Transformer base, bell-shaped weights",
    "bell7": "Transformer base, bell-shaped 7-bit weights",
    "big": "Transformer big",
    "big7": "Transformer big, 7-bit weights",
    "tiny": "built-in model",
    "nano": "very small model",
}


def available() -> bool:
    """Whether Matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def new_figure(width: float, height: float) -> Any:
    """A Matplotlib figure of inches that needs no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path, title: str, machine: Mapping[str, Any], note: str = "") -> None:
    """Writes a figure as PNG under its title, the machine and a note on what is drawn."""
    below = [machine_name(machine), *([note] if note else [])]
    figure.suptitle(title, fontsize=12, fontweight="bold")
    figure.supxlabel("\n".join(below), fontsize=_SMALL, color="#555555")
    # Without the version of Matplotlib: the same figures give the same file.
    figure.savefig(path, dpi=120, metadata={"Software": None})


def bare(axes: Any) -> None:
    """Takes off the lines of a plot that show nothing."""
    axes.spines[["top", "right"]].set_visible(False)


def bar(
    axes: Any,
    place: float,
    value: float,
    reach: tuple[float, float] | None,
    colour: str,
    text: str,
) -> None:
    """A horizontal bar with `text` at its end, and how far turns reached (`error_bars`)."""
    axes.barh(
        place,
        value,
        0.8,
        xerr=None if reach is None else [[reach[0]], [reach[1]]],
        color=colour,
        error_kw={"ecolor": "#333333", "capsize": 3, "elinewidth": 1},
    )
    end = value + (reach[1] if reach else 0.0)
    axes.annotate(f"  {text}", (end, place), va="center", fontsize=_SMALL)


def engine_name(name: str) -> str:
    """The name of an engine for people.

    Example:

        >>> engine_name("ctranslate2-int8")
        'CTranslate2, INT8'
    """
    if name in _ENGINES:
        return _ENGINES[name]
    program, _, precision = name.rpartition("-")
    if program in _ENGINES:
        return f"{_ENGINES[program]}, {_PRECISIONS.get(precision, precision)}"
    return name


def model_name(name: str) -> str:
    """The name of a model of the benchmarks for people."""
    return _MODELS.get(name, name)


def machine_name(machine: Mapping[str, Any]) -> str:
    """CPU, cores, instruction set and versions in a line."""
    parts = [str(machine.get("cpu", "unknown CPU"))]
    if "cores" in machine:
        parts.append(f"{machine['cores']} cores")
    if "isa" in machine:
        held = " (held to it)" if "forced" in machine else ""
        parts.append(str(machine["isa"]).upper().replace("_", "-") + held)
    versions = {"keras-int8nmt": "keras-int8nmt", "tensorflow": "TensorFlow"}
    versions["ctranslate2"] = "CTranslate2"
    parts += [f"{name} {machine[key]}" for key, name in versions.items() if key in machine]
    return ", ".join(parts)


def error_bars(rows: Iterable[Mapping[str, Any]], name: str) -> tuple[float, float] | None:
    """How far one side's turns lie below and above its median.

    Rows have `ranges` since they tell both ends of a side. Of older ones there is the spread, that
    of the side which varied more: no side's turns are farther apart than the least spread of the
    rows that it is in, so that is drawn, half of it on each side.

    Args:
        rows: Of one case.
        name: The side, as one of the two in `row["name"]`.

    Returns:
        Both in the unit of the rows; None where nothing tells them.
    """
    widest: list[float] = []
    for row in rows:
        sides = dict(zip(str(row["name"]).split(" vs "), ("ours", "peer"), strict=False))
        if name not in sides or row[sides[name]] is None:
            continue
        median = float(row[sides[name]])
        if "ranges" in row:
            low, high = row["ranges"][sides[name]]
            return median - low, high - median
        if row["spread"] is not None:
            widest.append(median * row["spread"] / 2)
    return (min(widest), min(widest)) if widest else None
