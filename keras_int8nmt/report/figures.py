"""The pictures of the report as Matplotlib figures (the extra `plot`)."""

from __future__ import annotations

import math
from typing import Any

from keras_int8nmt.report.data import ReportData, Tensor, collect

_COLUMNS = 3
_KEPT, _CLIPPED, _THRESHOLD = "#8b95a1", "#c2410c", "#1d4ed8"
# No bar can be as long as infinity; so many decibels are no noise to speak of.
_MOST_DB = 120.0


def plot_histograms(model: Any) -> list[Any]:
    """The histograms of a calibrated model with their thresholds, a figure for each block.

    Counts are on a log scale; values outside the thresholds are drawn in another colour.

    Args:
        model: A calibrated model, or the `ReportData` of one.

    Returns:
        `matplotlib.figure.Figure`s, in the order of the model, with one axes a tensor.

    Raises:
        ImportError: without Matplotlib.
        ValueError: when there are no histograms.

    Example:

        >>> for figure in plot_histograms(model):
        ...     figure.savefig(figure.get_label() + ".png")
    """
    from keras_int8nmt.report.text import group_of

    new_figure = _figure_class("plot_histograms")
    data = model if isinstance(model, ReportData) else collect(model)
    groups: dict[str, list[tuple[str, Tensor]]] = {}
    for tensor in data.tensors:
        if tensor.bars is not None:
            group, name = group_of(tensor.path)
            groups.setdefault(group, []).append((name, tensor))
    if not groups:
        raise ValueError(f"Model {data.title!r} has no histograms: it is {data.state}.")
    figures = []
    for group, members in groups.items():
        columns = min(_COLUMNS, len(members))
        rows = math.ceil(len(members) / columns)
        figure = new_figure(figsize=(4.2 * columns, 2.6 * rows + 0.4), layout="constrained")
        figure.set_label(group)
        figure.suptitle(group)
        for place, (name, tensor) in enumerate(members, 1):
            _draw_histogram(figure.add_subplot(rows, columns, place), name, tensor)
        figures.append(figure)
    return figures


def plot_matmuls(model: Any) -> Any:
    """SQNR of each MatMul's input, and of its output where it was measured.

    Args:
        model: A calibrated or a converted model, or its `ReportData`.

    Returns:
        A `matplotlib.figure.Figure`, one bar a MatMul from the top down in the order of the model;
        those that stay float have none and say so.

    Raises:
        ImportError: without Matplotlib.
        ValueError: when the model carries no conversion report.

    Example:

        >>> plot_matmuls(int8).savefig("matmuls.png")
    """
    new_figure = _figure_class("plot_matmuls")
    data = model if isinstance(model, ReportData) else collect(model)
    if not data.matmuls:
        raise ValueError(f"Model {data.title!r} carries no conversion report.")
    figure = new_figure(figsize=(9, 1.2 + 0.22 * len(data.matmuls)), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(data.matmuls))
    inputs = [_bar(row.input_sqnr_db) for row in data.matmuls]
    axes.barh(places, inputs, 0.7, color=_KEPT, label="input")
    outputs = [
        (place, _bar(row.output_sqnr_db))
        for place, row in zip(places, data.matmuls, strict=True)
        if row.output_sqnr_db is not None
    ]
    if outputs:
        y, x = zip(*outputs, strict=True)
        axes.plot(x, y, "o", markersize=4, color=_THRESHOLD, label="output")
    for place, row in zip(places, data.matmuls, strict=True):
        if row.precision != "int8":
            axes.annotate(
                f" {row.precision}: {row.reason}",
                (0, place),
                va="center",
                fontsize=7,
                color=_CLIPPED,
            )
    axes.set_yticks(places, [row.name for row in data.matmuls], fontsize=7)
    axes.set_ylim(len(data.matmuls) - 0.5, -0.5)
    axes.set_xlabel("SQNR, dB")
    axes.set_title(data.title)
    if outputs:
        axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _figure_class(asked: str) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"{asked} needs Matplotlib: pip install keras-int8nmt[plot]") from error

    def new_figure(**options: Any) -> Any:
        # Without pyplot: it would keep every figure, and may ask for a screen.
        figure = Figure(**options)
        FigureCanvasAgg(figure)
        return figure

    return new_figure


def _draw_histogram(axes: Any, name: str, tensor: Tensor) -> None:
    bars = tensor.bars
    assert bars is not None
    lefts = [bars.left + i * bars.width for i in range(len(bars.counts))]
    colours = [
        _KEPT if tensor.low <= left + bars.width / 2 <= tensor.high else _CLIPPED for left in lefts
    ]
    axes.bar(lefts, bars.counts, bars.width, align="edge", color=colours)
    for threshold in dict.fromkeys((tensor.low, tensor.high)):
        axes.axvline(threshold, color=_THRESHOLD, linewidth=1, linestyle="--")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.set_title(f"{name} ({tensor.kind})", fontsize=8)
    axes.set_xlabel(
        f"{tensor.low:.4g} to {tensor.high:.4g}; SQNR {tensor.sqnr_db:.1f} dB, "
        f"clipped {tensor.clipped_mass:.2e}",
        fontsize=7,
    )
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _bar(value: float | None) -> float:
    return 0.0 if value is None else min(value, _MOST_DB)
