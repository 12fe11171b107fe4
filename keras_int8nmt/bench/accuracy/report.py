"""The documents of a run: JSON and Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.accuracy.recipes import FLOAT
from keras_int8nmt.bench.documents import write_figures
from keras_int8nmt.bench.translation.report import table

NAME = "benchmarks-accuracy"

_INTRODUCTION = """\
# What quantization costs in BLEU

Written by `keras-int8nmt bench accuracy --test --docs docs`. Each recipe is scored on the
validation set; then the choice is written down, and only then is the test set opened, each recipe
scored on it once. Beam {beam_size}, batch {batch_size}, length penalty {length_penalty:g}.
Differences are to the float model; the interval holds 95 % of those on 1,000 draws of the sentences
with replacement, p is two-sided (paired bootstrap, as in sacreBLEU). An interval on both sides of
zero means that the set can't tell the two apart.
"""
_HEAD = (
    "recipe",
    "BLEU",
    "chrF",
    "to float",
    "95 %",
    "p",
    "outputs that differ",
    "MatMuls in INT8",
)
_TITLES = {"valid": "Validation, what is chosen on", "test": "Test, scored once"}


def write_docs(folder: Path, figures: dict[str, Any]) -> None:
    """Writes `benchmarks-accuracy.md` into `folder`, and the figures."""
    named = write_figures(folder, NAME, figures)
    path = folder / f"{NAME}.md"
    path.write_text(f"{markdown(figures)}\n{named}", encoding="utf-8")


def markdown(figures: dict[str, Any]) -> str:
    """The document: what was chosen, and tables by model and set."""
    machine = "; ".join(f"{key}: {value}" for key, value in figures["machine"].items())
    parts = [_INTRODUCTION.format(**figures["search"]), f"Machine: {machine}.\n"]
    parts.append(_chosen(figures["choice"]))
    for model, sets in figures["sets"].items():
        parts += [f"## {model}\n", _calibration(sets["calibration"])]
        for part, title in _TITLES.items():
            rows = [r for r in figures["rows"] if (r["model"], r["part"]) == (model, part)]
            if not rows:
                continue
            facts = sets[part]
            parts.append(f"### {title}: {facts['origin']}, {facts['sentences']} sentences\n")
            parts.append(table(_HEAD, [_cells(row, figures["choice"]) for row in rows]))
            parts += _modes(rows)
    signatures = dict.fromkeys(row["signature"] for row in figures["rows"])
    parts.append("".join(f"`{signature}`\n" for signature in signatures))
    return "\n".join(part for part in parts if part)


def _calibration(facts: dict[str, Any]) -> str:
    return f"Calibrated on {facts['sentences']} sentences, evenly taken: {facts['origin']}.\n"


def _chosen(choice: dict[str, Any]) -> str:
    if choice["combination"] is None:
        return ""
    best = "; ".join(f"{model}: {name}" for model, name in choice["best"].items())
    one = (
        f"As the default, of one method each: **{choice['default']}**. "
        if choice["default"]
        else ""
    )
    return (
        f"Chosen on the validation sets, by the mean difference to float: {one}Of all recipes in "
        f"which every MatMul is INT8: **{choice['combination']}** (by model: {best}).\n"
    )


def _cells(row: dict[str, Any], choice: dict[str, Any]) -> tuple[str, ...]:
    name = row["name"]
    if name == FLOAT:
        return name, f"{row['bleu']:.2f}", f"{row['chrf']:.2f}", "-", "-", "-", "-", "-"
    marks = [key for key in ("default", "combination") if choice[key] == name]
    if name not in choice["among"]:
        marks.append("added after the choice")
    low, high = row["interval"]
    return (
        f"{name} ({', '.join(marks)})" if marks else name,
        f"{row['bleu']:.2f}",
        f"{row['chrf']:.2f}",
        f"{row['difference']:+.2f}",
        f"{low:+.2f} to {high:+.2f}",
        f"{row['p']:.3f}",
        f"{row['differing']} of {row['sentences']}",
        f"{row['int8']} of {row['matmuls']}",
    )


def _modes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """BLEU by calibration mode, as the paper's table has it, where both policies were scored."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        recipe = row["recipe"]
        plain = recipe["calibrate"].keys() <= {"mode"} and recipe["convert"].keys() <= {"policy"}
        if row["name"] != FLOAT and plain and not recipe.keys() & {"prepare", "make"}:
            policy = recipe["convert"].get("policy", "int8")
            found.setdefault(row["mode"], {})[policy] = row
    both = {mode: by for mode, by in found.items() if by.keys() >= {"int8", "paper"}}
    if not both:
        return []
    example = next(iter(both.values()))["paper"]
    kept = example["matmuls"] - example["int8"]
    floats = "; ".join(f"{n} {_reason(why)}" for why, n in example["floats"].items())
    body = [
        (mode, *(f"{by[p]['bleu']:.2f} ({by[p]['difference']:+.2f})" for p in ("int8", "paper")))
        for mode, by in both.items()
    ]
    return [
        "BLEU by mode, with all MatMuls in INT8 and with the paper's policy (arXiv 1906.00532), "
        f"which leaves {kept} of {example['matmuls']} in float: {floats}.\n",
        table(("mode", "all in INT8", "policy paper"), body),
    ]


def _reason(text: str) -> str:
    return text.removeprefix("policy: paper, ")
