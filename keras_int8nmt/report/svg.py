"""The pictures of the report as inline SVG: histograms with thresholds, intervals of scores.

Colours come from the page's style by class names, so that they follow its light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from html import escape

from keras_int8nmt.report.data import Tensor
from keras_int8nmt.report.quality import Interval
from keras_int8nmt.report.text import MINUS, number_text, short_count

_Scale = Callable[[float], float]

_WIDTH, _HEIGHT = 320, 132
# The plot inside it: room for numbers of counts, of thresholds above and of values below.
_LEFT, _RIGHT, _TOP, _BOTTOM = 30, 316, 16, 112
# Of scores: its width, room for labels on the left and half a number on the right, a line's height.
_SCORE_WIDTH, _SCORE_LEFT, _SCORE_RIGHT, _SCORE_ROW = 340, 64, 322, 20
# Scores that are closer are drawn as if they were that far apart.
_LEAST_RANGE = 0.02
# A single value must be seen above the base line.
_LEAST = math.log10(0.5)


def histogram_svg(tensor: Tensor) -> str:
    """The histogram of a tensor, counts on a log scale, clipped bars and thresholds marked."""
    bars = tensor.bars
    if bars is None:
        raise ValueError(f"{tensor.path} has no histogram.")
    first, last = min(bars.left, tensor.low), max(bars.right, tensor.high)
    length = (last - first) or 1.0

    def x(value: float) -> float:
        return _LEFT + (value - first) / length * (_RIGHT - _LEFT)

    top = max(math.log10(max(bars.counts)), 1.0)

    def y(count: float) -> float:
        share = (math.log10(count) - _LEAST) / (top - _LEAST)
        return _BOTTOM - share * (_BOTTOM - _TOP)

    heights = [y(count) if count else None for count in bars.counts]
    edges = [x(bars.left + i * bars.width) for i in range(len(heights) + 1)]
    middles = [bars.left + (i + 0.5) * bars.width for i in range(len(heights))]
    inside = [tensor.low <= middle <= tensor.high for middle in middles]
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(_words(tensor))}">',
        *_count_axis(top, y),
    ]
    for name, wanted in (("bar", True), ("cut", False)):
        outline = _outline(heights, edges, [flag is wanted for flag in inside])
        if outline:
            parts.append(f'<path class="{name}" d="{outline}"/>')
    parts.append(f'<path class="grid" d="M{_LEFT} {_BOTTOM}H{_RIGHT}"/>')
    parts.extend(_value_axis(first, last, x))
    parts.extend(_thresholds(tensor, x))
    return "".join([*parts, "</svg>"])


def intervals_svg(name: str, intervals: list[tuple[str, Interval]], zero: bool = False) -> str:
    """Scores with their 95 % intervals, one line each, above an axis with numbers.

    Args:
        name: What is on the axis.
        intervals: A label and an interval a line.
        zero: Whether the axis has a mark at zero, as differences have.
    """
    ends = [end for _, i in intervals for end in (i.mean - i.half_width, i.mean + i.half_width)]
    ends += [i.score for _, i in intervals] + ([0.0] if zero else [])
    ticks = axis_ticks(min(ends), max(ends))
    first, last = ticks[0], ticks[-1]

    def x(value: float) -> float:
        return _SCORE_LEFT + (value - first) / (last - first) * (_SCORE_RIGHT - _SCORE_LEFT)

    words = "; ".join(
        f"{label} {i.score:.2f}, 95 % interval {i.mean - i.half_width:.2f} to "
        f"{i.mean + i.half_width:.2f}"
        for label, i in intervals
    )
    axis = _SCORE_ROW * len(intervals) + 4
    parts = [
        f'<svg class="interval" viewBox="0 0 {_SCORE_WIDTH} {axis + 32}" role="img" '
        f'aria-label="{escape(f"{name}: {words}")}">'
    ]
    for tick in ticks:
        at = _short(x(tick))
        named = tick_text(tick, ticks[1] - ticks[0])
        line = "zero" if zero and tick == 0 else "grid"
        parts.append(f'<path class="{line}" d="M{at} 0V{axis + 4}"/>')
        parts.append(f'<text x="{at}" y="{axis + 15}" text-anchor="middle">{named}</text>')
    parts.append(f'<path class="axis" d="M{_SCORE_LEFT} {axis}H{_SCORE_RIGHT}"/>')
    middle = _short((_SCORE_LEFT + _SCORE_RIGHT) / 2)
    parts.append(f'<text x="{middle}" y="{axis + 28}" text-anchor="middle">{escape(name)}</text>')
    for row, (label, i) in enumerate(intervals):
        y = _short(_SCORE_ROW * (row + 0.5) + 2)
        low, high = (_short(x(end)) for end in (i.mean - i.half_width, i.mean + i.half_width))
        parts.append(
            f'<text x="0" y="{_short(float(y) + 3.5)}">{escape(label)}</text>'
            f'<path class="range" d="M{low} {y}H{high}M{low} {_short(float(y) - 3)}v6'
            f'M{high} {_short(float(y) - 3)}v6"/>'
            f'<circle cx="{_short(x(i.score))}" cy="{y}" r="3"/>'
        )
    return "".join([*parts, "</svg>"])


def axis_ticks(low: float, high: float) -> list[float]:
    """Round numbers in equal steps, three to seven of them, that hold both ends between them.

    Example:

        >>> axis_ticks(31.7, 34.2)
        [31.0, 32.0, 33.0, 34.0, 35.0]
    """
    if high - low < _LEAST_RANGE:
        low, high = low - _LEAST_RANGE / 2, high + _LEAST_RANGE / 2
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, max(last, first + 1) + 1)]


def tick_text(tick: float, step: float) -> str:
    """A number of an axis with as many decimals as its step has."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{tick:.{digits}f}".replace("-", MINUS)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _words(tensor: Tensor) -> str:
    return (
        f"Histogram of {tensor.path}: {tensor.values} values from {tensor.minimum:.4g} to "
        f"{tensor.maximum:.4g}, thresholds {tensor.low:.4g} and {tensor.high:.4g}"
    )


def _outline(heights: list[float | None], edges: list[float], wanted: list[bool]) -> str:
    """Runs of neighbouring bars as closed shapes on the base line."""
    parts = []
    open_run = False
    for i, height in enumerate(heights):
        if height is None or not wanted[i]:
            open_run = False
            continue
        if not open_run:
            parts.append(f"M{_short(edges[i])} {_BOTTOM}")
        # At the end of a run back to the base line; the fill closes the shape along it.
        following = i + 1 < len(heights) and heights[i + 1] is not None and wanted[i + 1]
        down = "" if following else f"V{_BOTTOM}"
        parts.append(f"V{_short(height)}H{_short(edges[i + 1])}{down}")
        open_run = True
    return "".join(parts)


def _count_axis(top: float, y: _Scale) -> Iterator[str]:
    every = 1 if top < 4 else 2
    for power in range(0, int(top) + 1, every):
        at = _short(y(10**power))
        yield f'<path class="grid" d="M{_LEFT} {at}H{_RIGHT}"/>'
        yield (
            f'<text x="{_LEFT - 4}" y="{_short(float(at) + 3)}" text-anchor="end">'
            f"{short_count(10**power)}</text>"
        )


def _value_axis(first: float, last: float, x: _Scale) -> Iterator[str]:
    y = _BOTTOM + 12
    zero = x(0.0)
    for value, at, anchor in ((first, _LEFT, "start"), (last, _RIGHT, "end")):
        # Not on top of the zero.
        if value and abs(zero - at) > 30:
            text = number_text(value, 3)
            yield f'<text x="{at}" y="{y}" text-anchor="{anchor}">{text}</text>'
    anchor = "start" if zero < _LEFT + 8 else "end" if zero > _RIGHT - 8 else "middle"
    yield f'<path class="grid" d="M{_short(zero)} {_BOTTOM}v4"/>'
    yield f'<text x="{_short(zero)}" y="{y}" text-anchor="{anchor}">0</text>'


def _thresholds(tensor: Tensor, x: _Scale) -> Iterator[str]:
    for value in dict.fromkeys((tensor.low, tensor.high)):
        at = x(value)
        yield f'<path class="edge" d="M{_short(at)} {_TOP - 4}V{_BOTTOM}"/>'
        # Outwards, so that labels of close thresholds do not meet; inwards at the rim.
        outwards, inwards, near = ("end", "start", at < _LEFT + 30)
        if value == tensor.high:
            outwards, inwards, near = ("start", "end", at > _RIGHT - 30)
        anchor = inwards if near else outwards
        yield (
            f'<text class="edge-label" x="{_short(at)}" y="{_TOP - 7}" text-anchor="{anchor}">'
            f"{number_text(value)}</text>"
        )
