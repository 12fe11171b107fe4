"""The report as one HTML page that loads nothing: text, tables and pictures are all in it."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

from keras_int8nmt._version import __version__
from keras_int8nmt.conversion.report import MatMulRow
from keras_int8nmt.report.data import ReportData, Tensor
from keras_int8nmt.report.quality import Quality
from keras_int8nmt.report.quality_html import quality_section
from keras_int8nmt.report.reasons import reasons_of
from keras_int8nmt.report.svg import histogram_svg
from keras_int8nmt.report.text import (
    NOTHING,
    between,
    decibels,
    group_of,
    megabytes,
    p_text,
    percent,
    short_count,
    signed,
)

_PARTS = files("keras_int8nmt.report") / "page"
# The classes of section 4.2 of the paper, by our rule (`thresholds.distribution.classify`).
_KINDS = {
    "sparse": "At least half of the values are zero or next to it, as after a ReLU. The zeros "
    "outweigh the few values that carry the signal, so a threshold is hard to choose well. The "
    "paper leaves MatMuls that read such tensors in float; here they are INT8 unless "
    'policy="paper" or another policy says otherwise.',
    "narrow": "99 % of the values lie within an eighth of the largest magnitude: a few outliers "
    "far out make the range. Clipping them gives all others finer steps.",
    "gaussian": "Anything else: most values lie about the middle and the tails are short, like a "
    "bell. Thresholds near the smallest and the largest value lose little.",
}
_TERMS = {
    "MatMul": "A matrix product. Weights: one side is a weight matrix. Two tensors: the products "
    "of an attention, QK<sup>T</sup> (queries and keys) and AV (attention and values).",
    "Threshold": "What a tensor is quantized between: codes are spread evenly over that range, and "
    "what lies outside is clipped to its ends.",
    "Code": "int8: &minus;127 to 127. uint8: 0 to 255. The zero point is the code of 0.0.",
    "Clipped": "The share of the values seen in calibration that lie outside the thresholds.",
    "SQNR": "Signal to quantization noise ratio in decibels: the power of the values over that of "
    "the error that rounding and clipping make. 6 dB more is one bit more. Of the input from the "
    "histogram, of the output measured on a sample.",
    "Weight bits": "8, or 7 for CPUs whose fastest INT8 instructions add pairs of products in 16 "
    "bits: 8-bit weights take two steps there to stay exact (AVX2, AVX-512 without VNNI).",
    "Why": "Default: nothing was asked for. Policy: the argument <code>policy</code> of convert. "
    "Option: another argument of convert. Filter: <code>filters</code> of quantize_model. Layer: "
    "its type or its settings have no INT8 form.",
    "95 % interval": "Where 95 % of the scores lie when the test set is drawn anew from its own "
    "sentences. p: how likely a difference at least as large is by chance.",
    "Numbers": "Four digits, of shares three, of scores two decimals, of decibels one; MB are "
    "10<sup>6</sup> bytes.",
}


def render(data: ReportData) -> str:
    """The page of a report; the same data give the same page."""
    style = (_PARTS / "page.css").read_text(encoding="utf-8")
    script = (_PARTS / "page.js").read_text(encoding="utf-8")
    page = Template((_PARTS / "page.html").read_text(encoding="utf-8"))
    sections = {
        "quality": ("Translation quality", [*quality_section(data.quality)]),
        "matmuls": ("MatMuls", [*_matmul_section(data.matmuls)]),
        "tensors": ("Tensors", [*_tensor_section(data)]),
        "terms": ("What the words mean", [*_terms_section()]),
        "missing": ("Not in this report", [*_missing_section(data.missing)]),
    }
    there = {key: title for key, (title, lines) in sections.items() if lines}
    body = "\n".join(
        [
            *_head(data),
            *_contents(there),
            *(_search() if {"matmuls", "tensors"} & there.keys() else ()),
            *(line for _, lines in sections.values() for line in lines),
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


def _contents(sections: Mapping[str, str]) -> Iterator[str]:
    links = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in sections.items())
    yield f'<nav class="contents" aria-label="Contents"><ul>{links}</ul></nav>'


def _search() -> Iterator[str]:
    """Works with the page's script, which shows it."""
    yield (
        '<div class="tools find" role="search" hidden><label for="find">Find layers</label>'
        '<input id="find" type="search" autocomplete="off" spellcheck="false" '
        'placeholder="decoder ffn, float32, sparse"><output id="found" for="find"></output></div>'
    )


def _headline(data: ReportData) -> Iterator[tuple[str, str, str]]:
    """What to know first: a name, a figure and a remark each."""
    yield from _quality_cards(data.quality)
    yield _speed_card(data.quality)
    yield from _size_cards(data)
    if data.machine is not None:
        machine = data.machine
        cores = f"{machine.cores} core{'s' if machine.cores > 1 else ''}"
        runs = (
            f"instruction set {machine.isa.upper().replace('_', '-')}, INT8 by {machine.gemm}"
            if machine.isa is not None
            else "without the native library, on TensorFlow's own operations"
        )
        yield "CPU that this was made on", machine.cpu, f"{cores}; {runs}"
    yield from _matmul_cards(data)


def _quality_cards(quality: Quality | None) -> Iterator[tuple[str, str, str]]:
    if quality is None:
        return
    for metric in quality.metrics:
        value = f"{metric.after.score:.2f}"
        if metric.before is None:
            yield f"{metric.name}, INT8", value, f"± {metric.after.half_width:.2f}"
            continue
        change = metric.after.score - metric.before.score
        p = p_text(metric.p_value)
        yield (
            f"{metric.name}, float to INT8",
            f"{metric.before.score:.2f} → {value}",
            f"{signed(change)}, p {p if p.startswith('<') else f'= {p}'}",
        )
    if quality.differing is not None:
        yield (
            "Translations that differ",
            f"{quality.differing} of {quality.sentences}",
            f"chrF higher in {quality.better}, lower in {quality.worse}",
        )


def _speed_card(quality: Quality | None) -> tuple[str, str, str]:
    after = None if quality is None else quality.after
    before = None if quality is None else quality.before
    if after is None:
        return "Speed", NOTHING, "not measured: give a test set (--src and --ref)"
    if before is None:
        return "Speed, INT8", f"{after.tokens_per_second:,.0f} tokens/s", "one run"
    ratio = after.tokens_per_second / before.tokens_per_second
    return (
        "Speed, float to INT8",
        f"{before.tokens_per_second:,.0f} → {after.tokens_per_second:,.0f} tokens/s",
        f"{ratio:.2f} times as fast; one run",
    )


def _size_cards(data: ReportData) -> Iterator[tuple[str, str, str]]:
    if data.int8_bytes is not None:
        after = megabytes(data.int8_bytes)
        if data.float_bytes is None:
            yield "Size of the weights, INT8", after, "as they are saved"
        else:
            yield (
                "Size of the weights, float to INT8",
                f"{megabytes(data.float_bytes)} → {after}",
                f"{data.float_bytes / data.int8_bytes:.2f} times smaller, as they are saved",
            )
    if data.weight_bits is not None:
        remark = "made for CPUs without VNNI" if data.weight_bits == 7 else "in INT8 products"
        yield "Weight bits", str(data.weight_bits), remark


def _matmul_cards(data: ReportData) -> Iterator[tuple[str, str, str]]:
    if not data.matmuls:
        return
    done = sum(row.precision == "int8" for row in data.matmuls)
    counted = data.multiplications
    share = counted.int8_share if counted is not None else None
    remark = "" if share is None else f"{percent(share)} of the multiplications"
    yield "MatMuls in INT8", f"{done} of {len(data.matmuls)}", remark
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
        "<p>Every matrix product of the model in its order, what it is computed in and why. Of a "
        "product of two tensors (QK<sup>T</sup>, AV) the worse side is shown. "
        '<a href="#terms">What the words mean.</a></p>'
    )
    yield '<p class="small tools" hidden>Choose a column head to sort.</p>'
    yield from table_head(heads, "MatMuls of the model", "MatMuls")
    for row in rows:
        cells = [
            f'<th class="path" scope="row">{_path(row.name)}</th>',
            f"<td>{'two tensors' if row.kind == 'dynamic' else escape(row.kind)}</td>",
            f'<td class="{"int8" if row.precision == "int8" else "float"}">'
            f"{escape('INT8' if row.precision == 'int8' else row.precision)}</td>",
            f'<td class="why">{_why(row)}</td>',
            number(_pairs(row.thresholds), max(map(abs, row.thresholds), default=None)),
            number(decibels(row.input_sqnr_db), row.input_sqnr_db),
            number(percent(row.clipped_mass), row.clipped_mass),
        ]
        if measured:
            cells.append(number(decibels(row.output_sqnr_db), row.output_sqnr_db))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div></section>"


def _why(row: MatMulRow) -> str:
    return "<br>".join(
        f'<span class="tag">{escape(reason.source)}</span> {escape(reason.text)}'
        for reason in reasons_of(row)
    )


def table_head(heads: Sequence[tuple[str, str]], label: str, noun: str) -> Iterator[str]:
    """The beginning of a table to sort and search: `(text, class)` of each column."""
    cells = "".join(
        f'<th scope="col" class="{name}">{escape(text)}</th>'
        if name
        else f'<th scope="col">{escape(text)}</th>'
        for text, name in heads
    )
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
    yield f'<table data-sortable data-noun="{escape(noun)}"><thead><tr>{cells}</tr></thead><tbody>'


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
    yield from _tensor_legend([t.kind for t in data.tensors])
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


def _tensor_legend(kinds: Sequence[str | None]) -> Iterator[str]:
    yield (
        "<p>What calibration saw of each tensor that is quantized, and the thresholds that it "
        "chose. Counts are on a logarithmic scale, so that the tails show; what lies outside the "
        "thresholds is clipped to them.</p>"
    )
    yield '<dl class="classes">'
    for name, text in _KINDS.items():
        count = sum(kind == name for kind in kinds)
        yield (
            f"<div><dt>{escape(name.capitalize())} <small>{count} of {len(kinds)}</small></dt>"
            f"<dd>{escape(text)}</dd></div>"
        )
    yield "</dl>"
    yield (
        '<p class="small">The classes are those of arXiv 1906.00532, section 4.2; the paper shows '
        "an example of each and gives no numbers, so the limits are ours.</p>"
    )
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
    start = f'<figure id="t{index}" data-path="{escape(tensor.path)}">'
    return f"{start}{caption}{picture}<p>{figures}{escape(code)}</p></figure>"


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
    yield from table_head(heads, "Calibrated tensors", "tensors")
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


def _terms_section() -> Iterator[str]:
    yield '<section aria-labelledby="terms"><h2 id="terms">What the words mean</h2>'
    yield '<dl class="terms">'
    # Our own text, with marks in it.
    yield from (f"<dt>{name}</dt><dd>{text}</dd>" for name, text in _TERMS.items())
    yield "</dl></section>"


def _missing_section(missing: Sequence[str]) -> Iterator[str]:
    if not missing:
        return
    yield '<section aria-labelledby="missing"><h2 id="missing">Not in this report</h2><ul>'
    yield from (f"<li>{escape(text)}</li>" for text in missing)
    yield "</ul></section>"
