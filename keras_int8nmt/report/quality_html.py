"""The part of the report on translation quality: scores, their certainty, sentences that differ."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from html import escape

from keras_int8nmt.evaluation.significance import SIGNIFICANT, is_significant
from keras_int8nmt.report.quality import Example, Interval, Metric, Quality
from keras_int8nmt.report.svg import intervals_svg
from keras_int8nmt.report.text import p_text, signed


def quality_section(quality: Quality | None) -> Iterator[str]:
    """The section; nothing where quality was not measured."""
    if quality is None:
        return
    yield '<section aria-labelledby="quality"><h2 id="quality">Translation quality</h2>'
    yield f"<p>{escape(_setting(quality))}</p>"
    yield from _scores(quality)
    yield from _speeds(quality)
    if quality.differing is not None:
        yield from _differences(quality)
    yield "</section>"


def mark_differences(before: str, after: str) -> tuple[str, str]:
    """Both texts as HTML, words that only one of them has in `<mark>`."""
    old, new = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (before, after))
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    parts: tuple[list[str], list[str]] = ([], [])
    for tag, i, j, k, m in matcher.get_opcodes():
        for out, words in zip(parts, (old[i:j], new[k:m]), strict=True):
            text = escape("".join(words))
            out.append(f"<mark>{text}</mark>" if tag != "equal" and text.strip() else text)
    return "".join(parts[0]), "".join(parts[1])


def _setting(quality: Quality) -> str:
    words = f"{quality.sentences} sentences"
    if quality.source:
        words += f" of {quality.source}"
    if quality.search:
        settings = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in quality.search.items())
        words += f"; {settings}"
    return words + "."


def _scores(quality: Quality) -> Iterator[str]:
    compared = quality.differing is not None
    heads = ["Metric", *(["Float"] if compared else []), "INT8"]
    heads += ["Difference", "p"] if compared else []
    yield '<div class="scroll" tabindex="0" role="region" aria-label="Scores">'
    yield '<table class="narrow"><thead><tr>'
    yield "".join(
        f'<th scope="col"{" class=n" if i else ""}>{head}</th>' for i, head in enumerate(heads)
    )
    yield "</tr></thead><tbody>"
    for metric in quality.metrics:
        yield _score_row(metric)
    yield "</tbody></table></div>"
    if compared:
        intervals = {"BLEU": quality.bleu_difference_interval}
        verdicts = [_verdict(metric, intervals.get(metric.name)) for metric in quality.metrics]
        if quality.bleu_difference_interval is not None and quality.differing:
            low, high = map(signed, quality.bleu_difference_interval)
            verdicts.append(
                f"BLEU of INT8 minus that of float: 95 % of resamples in [{low}, {high}]."
            )
        yield f"<p>{escape(' '.join(verdicts))}</p>"
    yield from _pictures(quality)
    yield (
        '<p class="small">Intervals and p by sacreBLEU&#x27;s bootstrap; p by its paired one: how '
        "likely a difference at least as large is by chance. "
        if compared
        else '<p class="small">Intervals by sacreBLEU&#x27;s bootstrap. '
    )
    signatures = ", ".join(f"{m.name}|{m.signature}" for m in quality.metrics)
    yield f'<span class="wrap">{escape(signatures)}</span></p>'


def _score_row(metric: Metric) -> str:
    cells = [f'<td class="n">{_interval(metric.after)}</td>']
    if metric.before is not None:
        cells.insert(0, f'<td class="n">{_interval(metric.before)}</td>')
        change = signed(metric.after.score - metric.before.score)
        cells.append(f'<td class="n">{change}</td><td class="n">{escape(p_text(metric.p_value))}')
        cells.append("</td>")
    return f'<tr><th scope="row">{escape(metric.name)}</th>{"".join(cells)}</tr>'


def _pictures(quality: Quality) -> Iterator[str]:
    """The intervals of each metric on an axis of its own, and that of the difference in BLEU."""
    yield '<div class="intervals">'
    for metric in quality.metrics:
        systems = [("INT8", metric.after)]
        if metric.before is not None:
            systems.insert(0, ("Float", metric.before))
        yield intervals_svg(f"{metric.name}, with 95 % intervals", systems)
    bleu = quality.metrics[0]
    if quality.bleu_difference_interval is not None and bleu.before is not None:
        low, high = quality.bleu_difference_interval
        change = bleu.after.score - bleu.before.score
        interval = Interval(change, (low + high) / 2, (high - low) / 2)
        yield intervals_svg(
            "BLEU of INT8 minus that of float, 95 % of resamples",
            [("Difference", interval)],
            zero=True,
        )
    yield "</div>"


def _interval(interval: Interval) -> str:
    return f"{interval.score:.2f} <small>± {interval.half_width:.2f}</small>"


def _verdict(metric: Metric, interval: tuple[float, float] | None) -> str:
    p = metric.p_value
    if p is None or metric.before is None:
        return ""
    if metric.after.score == metric.before.score:
        return f"{metric.name} does not differ."
    if is_significant(p, interval):
        better = metric.after.score > metric.before.score
        return (
            f"INT8 is {'better' if better else 'worse'} by {metric.name}, significantly so at the "
            f"{SIGNIFICANT:.0%} level.".replace("%", " %")
        )
    return f"The difference in {metric.name} is within chance."


def _speeds(quality: Quality) -> Iterator[str]:
    after, before = quality.after, quality.before
    if after is None:
        return
    text = f"INT8 {after.tokens_per_second:,.0f} tokens/s ({after.gemm})"
    if before is not None:
        ratio = after.tokens_per_second / before.tokens_per_second
        text = (
            f"Float {before.tokens_per_second:,.0f} tokens/s ({before.gemm}), {text}: {ratio:.2f} "
            "times as fast"
        )
    yield (
        f"<p>Speed while this was measured: {escape(text)}. One run on a machine that may have had "
        "other work; <code>keras-int8nmt bench translate</code> measures speed.</p>"
    )


def _differences(quality: Quality) -> Iterator[str]:
    yield "<h3>Translations that differ</h3>"
    if not quality.differing:
        yield f"<p>None of {quality.sentences}.</p>"
        return
    yield (
        f"<p>{quality.differing} of {quality.sentences} "
        f"({quality.differing / quality.sentences:.1%})".replace("%", " %")
        + f". Against the reference the sentence&#x27;s chrF is higher with INT8 in "
        f"{quality.better}, lower in {quality.worse} and the same in {quality.level}.</p>"
    )
    if len(quality.examples) < quality.differing:
        yield f"<p>The {len(quality.examples)} whose chrF changed most:</p>"
    yield '<ol class="examples">'
    yield from map(_example, quality.examples)
    yield "</ol>"


def _example(example: Example) -> str:
    old, new = mark_differences(example.before, example.after)
    change = signed(example.change, 1)
    rows = [
        ("Source", escape(example.source), f'<span class="muted">line {example.line}</span>'),
        ("Reference", escape(example.reference), '<span class="muted">chrF</span>'),
        ("Float", old, f"{example.chrf_before:.1f}"),
        ("INT8", new, f"({change}) {example.chrf_after:.1f}"),
    ]
    cells = "".join(
        f'<dt>{name}</dt><dd dir="auto">{text}</dd><dd class="n">{figure}</dd>'
        for name, text, figure in rows
    )
    return f'<li data-line="{example.line}"><dl>{cells}</dl></li>'
