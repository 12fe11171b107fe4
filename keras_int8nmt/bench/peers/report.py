"""The measured part of the page `peers.md`."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.documents import write_figures, write_section
from keras_int8nmt.bench.peers.table import FLOAT
from keras_int8nmt.bench.timing import Measurement
from keras_int8nmt.bench.translation.report import table

NAME = "benchmarks-peers"
PAGE, TITLE = "peers.md", "INT8 for Keras translation models: what there is"

_HEAD = ("", "how", "BLEU", "difference", "lines that differ", "batches of 32", "one by one", "MB")


def write_docs(folder: Path, figures: dict[str, Any]) -> None:
    """Writes the measured section of the page in `folder`, and the figures."""
    named = write_figures(folder, NAME, figures)
    write_section(folder / PAGE, TITLE, "bench peers", f"{markdown(figures)}\n{named}")


def markdown(figures: dict[str, Any]) -> str:
    """The section of the page."""
    machine = "; ".join(f"{key}: {value}" for key, value in figures["machine"].items())
    scored, card, found = figures["scored"], figures["model"], figures["peers"]
    sizes = card["sizes"]
    signature = found[FLOAT]["signature"]
    introduction = (
        f"The model: {sizes['depth']} + {sizes['depth']} of KerasHub's blocks, width "
        f"{sizes['width']}, {sizes['vocabulary']} pieces, {card['parameters']} parameters. "
        f"{_training(card)} BLEU on "
        f"{scored['sentences']} sentences of {scored['origin']}, greedy; the difference from the "
        f"float model with its 95 % interval (paired bootstrap), {signature}. Static quantizers "
        f"are calibrated on the same {figures['calibration']} training pairs. Speed: sentences per "
        "second of CPU time on one thread, medians of turns that the engines took one after the "
        "other on one core, with (slowest - fastest) / median. Size: all files of a way, "
        "where exports hold the table of embeddings twice.\n"
    )
    lines = [_cells(name, facts) for name, facts in found.items()]
    settings = "".join(
        f"- {name}: {facts['settings']}\n" for name, facts in found.items() if "settings" in facts
    )
    failed = "".join(
        f"- {name} ({facts['what']}): {facts['failed']}\n"
        for name, facts in found.items()
        if "failed" in facts
    )
    parts = [introduction, f"Machine: {machine}.\n", table(_HEAD, lines), settings]
    if failed:
        parts.append(f"What failed, and how:\n\n{failed}")
    return "\n".join(parts)


def _training(card: dict[str, Any]) -> str:
    """What it has learned from, and for how long."""
    history = card.get("history", [])
    if not history:
        return f"Trained on {card['trained_on']}."
    epochs = len(history) / card["parts_of_an_epoch"]
    best = min(each["val_loss"] for each in history)
    return (
        f"Training began with {card['begun_with']} and went on for {epochs:.2g} epochs of "
        f"{card['trained_on']}; its weights of least loss on the validation set, {best:.2f}."
    )


def _cells(name: str, facts: dict[str, Any]) -> tuple[str, ...]:
    if "failed" in facts:
        return (name, facts["what"], "failed, see below", *["-"] * 5)
    low, high = facts["interval"]
    baseline = name == FLOAT
    return (
        name,
        facts["what"],
        f"{facts['bleu']:.2f}",
        "-" if baseline else f"{facts['difference']:+.2f} ({low:+.2f} to {high:+.2f})",
        "-" if baseline else str(facts["differing"]),
        *(_speed(facts["speeds"][batch]) for batch in ("32", "1")),
        f"{facts['bytes'] / 1e6:.1f}",
    )


def _speed(seen: list[float]) -> str:
    return f"{statistics.median(seen):.3g} ({100 * Measurement.of(seen).spread:.0f} %)"
