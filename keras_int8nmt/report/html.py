"""The report as one HTML page that loads nothing: text, tables and pictures are all in it."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from string import Template

from keras_int8nmt._version import __version__
from keras_int8nmt.conversion.report import MatMulRow
from keras_int8nmt.report.data import ReportData, Tensor
from keras_int8nmt.report.quality_html import quality_section
from keras_int8nmt.report.svg import histogram_svg
from keras_int8nmt.report.text import (
    NOTHING,
    between,
    decibels,
    group_of,
    percent,
    short_count,
    signed,
)

_PARTS = files("keras_int8nmt.report") / "page"
_KINDS = {
    "sparse": "at least half of the values are zero or next to it, as after ReLU",
    "narrow": "99 % of the values lie within an eighth of the largest magnitude",
    "gaussian": "anything else",
}


def render(data: ReportData) -> str:
    """The page of a report; the same data give the same page."""
    style = (_PARTS / "page.css").read_text(encoding="utf-8")
    script = (_PARTS / "page.js").read_text(encoding="utf-8")
    page = Template((_PARTS / "page.html").read_text(encoding="utf-8"))
    body = "\n".join(
        [
            *_head(data),
            *quality_section(data.quality),
            *_matmul_section(data.matmuls),
            *_tensor_section(data),
            *_missing_section(data.missing),
        ]
    )
    return page.substitute(
        title=f"{escape(data.title)}: INT8 report",
        version=escape(__version__),
        style=style,
        script=script,
        # Nothing but these two may run or style, even if something were not escaped.
        style_hash=_hash(style),
        script_hash=_hash(script),
        body=body,
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")


def _head(data: ReportData) -> Iterator[str]:
    yield "<header>"
    yield f"<h1>{escape(data.title)}: INT8 report</h1>"
    left_out = ' <a href="#missing">What is not in this report.</a>' if data.missing else ""
    yield f'<p class="muted">{escape(_provenance(data))}{left_out}</p>'
    entries = [*_headline(data)]
    if entries:
        yield '<dl class="summary">'
        for name, value, remark in entries:
            small = f"<small>{escape(remark)}</small>" if remark else ""
            yield f"<div><dt>{escape(name)}</dt><dd>{escape(value)}{small}</dd></div>"
        yield "</dl>"
    yield "</header>"


def _provenance(data: ReportData) -> str:
    facts = data.facts
    words = ["Calibrated float model" if data.state == "calibrated" else "Converted model"]
    if "thresholds_mode" in facts:
        words.append(f"thresholds: {facts['thresholds_mode']}")
    described = facts.get("data")
    if isinstance(described, dict) and "sentences" in described:
        targets = described.get("targets")
        fed = "the model's own greedy translations" if targets == "greedy" else targets
        words.append(
            f"calibrated on {described['sentences']} sentences of {described.get('source')}, "
            f"decoder fed {fed}"
        )
    if "keras_int8nmt_version" in facts:
        words.append(f"saved by keras-int8nmt {facts['keras_int8nmt_version']}")
    return "; ".join(words) + "."


def _headline(data: ReportData) -> Iterator[tuple[str, str, str]]:
    """What to know first: a name, a figure and a remark each."""
    quality = data.quality
    if quality is not None:
        for metric in quality.metrics:
            value = f"{metric.after.score:.2f}"
            if metric.before is None:
                yield f"{metric.name}, INT8", value, ""
                continue
            change = metric.after.score - metric.before.score
            yield (
                f"{metric.name}, float to INT8",
                f"{metric.before.score:.2f} → {value}",
                f"{signed(change)}, p = {metric.p_value:.3g}",
            )
        if quality.differing is not None:
            yield (
                "Translations that differ",
                f"{quality.differing} of {quality.sentences}",
                f"chrF higher in {quality.better}, lower in {quality.worse}",
            )
    if data.matmuls:
        done = sum(row.precision == "int8" for row in data.matmuls)
        yield "MatMuls in INT8", f"{done} of {len(data.matmuls)}", ""
        measured = [r for r in data.matmuls if r.input_sqnr_db is not None]
        if measured:
            worst = min(measured, key=lambda r: r.input_sqnr_db or 0.0)
            yield "Lowest SQNR of an input", f"{decibels(worst.input_sqnr_db)} dB", worst.name
            most = max(measured, key=lambda r: r.clipped_mass or 0.0)
            yield "Most clipped input", percent(most.clipped_mass), most.name


def _matmul_section(rows: Sequence[MatMulRow]) -> Iterator[str]:
    if not rows:
        return
    measured = any(row.output_sqnr_db is not None for row in rows)
    heads = [
        ("MatMul", "path"),
        ("Sides", ""),
        ("Precision", ""),
        ("Why", ""),
        ("Thresholds", "n"),
        ("Input SQNR, dB", "n"),
        ("Clipped", "n"),
    ]
    if measured:
        heads.append(("Output SQNR, dB", "n"))
    yield '<section aria-labelledby="matmuls"><h2 id="matmuls">MatMuls</h2>'
    yield (
        "<p>Every matrix product of the model in its order. SQNR is the power of the signal over "
        "that of the quantization noise: 6 dB more is one bit more. Of a product of two tensors "
        "(QK<sup>T</sup>, AV) the worse side is shown.</p>"
    )
    yield '<p class="small tools" hidden>Choose a column head to sort.</p>'
    yield from table_head(heads, "MatMuls of the model")
    for row in rows:
        cells = [
            f'<th class="path" scope="row">{_path(row.name)}</th>',
            f"<td>{'two tensors' if row.kind == 'dynamic' else escape(row.kind)}</td>",
            f'<td class="{"int8" if row.precision == "int8" else "float"}">'
            f"{escape('INT8' if row.precision == 'int8' else row.precision)}</td>",
            f'<td class="why">{escape(row.reason or "default")}</td>',
            number(_pairs(row.thresholds), max(map(abs, row.thresholds), default=None)),
            number(decibels(row.input_sqnr_db), row.input_sqnr_db),
            number(percent(row.clipped_mass), row.clipped_mass),
        ]
        if measured:
            cells.append(number(decibels(row.output_sqnr_db), row.output_sqnr_db))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div></section>"


def table_head(heads: Sequence[tuple[str, str]], label: str) -> Iterator[str]:
    """The beginning of a sortable table: `(text, class)` of each column."""
    cells = "".join(
        f'<th scope="col" class="{name}">{escape(text)}</th>'
        if name
        else f'<th scope="col">{escape(text)}</th>'
        for text, name in heads
    )
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
    yield f"<table data-sortable><thead><tr>{cells}</tr></thead><tbody>"


def number(text: str, value: float | None) -> str:
    """A cell that sorts by `value`."""
    given = "" if value is None else "1e999" if math.isinf(value) else repr(float(value))
    return f'<td class="n" data-value="{given}">{text}</td>'


def _path(path: str) -> str:
    """A path that breaks after its slashes first."""
    return escape(path).replace("/", "/<wbr>")


def _pairs(thresholds: Sequence[float]) -> str:
    """`low … high`, of each side on a line of its own."""
    if not thresholds:
        return NOTHING
    pairs = zip(thresholds[::2], thresholds[1::2], strict=True)
    return "<br>".join(between(low, high) for low, high in pairs)


def _tensor_section(data: ReportData) -> Iterator[str]:
    if not data.tensors:
        return
    yield '<section aria-labelledby="tensors"><h2 id="tensors">Tensors</h2>'
    yield from _tensor_legend({t.kind for t in data.tensors})
    yield from _tensor_groups(data.tensors)
    yield from _tensor_table(data.tensors)
    if data.unseen:
        paths = "".join(f"<li><code>{_path(path)}</code></li>" for path in data.unseen)
        yield (
            "<h3>Without thresholds of their own</h3><p>These layers were called with one tensor "
            "for several inputs; the tensor was watched once and its thresholds serve for all."
            f'</p><ul class="small wrap">{paths}</ul>'
        )
    yield "</section>"


def _tensor_legend(kinds: set[str | None]) -> Iterator[str]:
    yield (
        "<p>What calibration saw of each tensor that is quantized, and the thresholds that it "
        "chose. Counts are on a logarithmic scale, so that the tails show; what lies outside the "
        "thresholds is clipped to them.</p>"
    )
    meanings = "; ".join(f"{name}: {text}" for name, text in _KINDS.items() if name in kinds)
    if meanings:
        yield f'<p class="small">Classes. {escape(meanings[0].upper() + meanings[1:])}.</p>'
    yield (
        '<p class="small">In the pictures:<span class="key bar"></span>kept'
        '<span class="key cut"></span>clipped<span class="key edge"></span>threshold</p>'
    )


def _tensor_groups(tensors: Sequence[Tensor]) -> Iterator[str]:
    groups: dict[str, list[tuple[int, str, Tensor]]] = {}
    for index, tensor in enumerate(tensors):
        group, name = group_of(tensor.path)
        groups.setdefault(group, []).append((index, name, tensor))
    yield (
        '<div class="tools" hidden><button type="button" data-open="all">Open all</button>'
        '<button type="button" data-open="none">Close all</button></div>'
    )
    for position, (group, members) in enumerate(groups.items()):
        known = [t.sqnr_db for _, _, t in members if t.sqnr_db is not None]
        lowest = f", lowest SQNR {decibels(min(known))} dB" if known else ""
        noun = "tensor" if len(members) == 1 else "tensors"
        yield (
            f"<details{' open' if position == 0 else ''}><summary>{escape(group)} "
            f"<span>{len(members)} {noun}{lowest}</span></summary>"
        )
        yield '<div class="tensors">'
        for index, name, tensor in members:
            yield _figure(index, name, tensor)
        yield "</div></details>"


def _figure(index: int, name: str, tensor: Tensor) -> str:
    caption = (
        f'<figcaption title="{escape(tensor.path)}">{escape(name)} '
        f"<span>{escape(tensor.kind or '')}</span></figcaption>"
    )
    code = tensor.code
    if tensor.zero_point:
        code += f", zero point {tensor.zero_point}"
    if tensor.bars is None:
        picture, figures = '<p class="small">No histogram was kept.</p>', ""
    else:
        picture = histogram_svg(tensor)
        figures = (
            f"SQNR <b>{decibels(tensor.sqnr_db)} dB</b>, clipped "
            f"<b>{percent(tensor.clipped_mass)}</b> of {short_count(tensor.values)} values; "
        )
    return f'<figure id="t{index}">{caption}{picture}<p>{figures}{escape(code)}</p></figure>'


def _tensor_table(tensors: Sequence[Tensor]) -> Iterator[str]:
    heads = [
        ("Tensor", "path"),
        ("Class", ""),
        ("Code", ""),
        ("Thresholds", "n"),
        ("Seen", "n"),
        ("Clipped", "n"),
        ("SQNR, dB", "n"),
    ]
    yield "<h3>All tensors</h3>"
    yield from table_head(heads, "Calibrated tensors")
    for index, t in enumerate(tensors):
        seen = NOTHING if t.minimum is None else between(t.minimum, t.maximum or 0.0)
        largest = None if t.minimum is None else max(abs(t.minimum), abs(t.maximum or 0.0))
        cells = [
            f'<th class="path" scope="row"><a href="#t{index}">{_path(t.path)}</a></th>',
            f"<td>{escape(t.kind or NOTHING)}</td><td>{escape(t.code)}</td>",
            number(_pairs((t.low, t.high)), max(abs(t.low), abs(t.high))),
            number(seen, largest),
            number(percent(t.clipped_mass), t.clipped_mass),
            number(decibels(t.sqnr_db), t.sqnr_db),
        ]
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _missing_section(missing: Sequence[str]) -> Iterator[str]:
    if not missing:
        return
    yield '<section aria-labelledby="missing"><h2 id="missing">Not in this report</h2><ul>'
    yield from (f"<li>{escape(text)}</li>" for text in missing)
    yield "</ul></section>"
