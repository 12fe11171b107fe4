"""What the commands `calibrate`, `autotune` and `convert` do with a folder."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from keras_int8nmt.autotuning.result import PolicyFileError
from keras_int8nmt.calibration.from_sentences import (
    DEFAULT_BEAM,
    calibrate_balanced,
    check_feed,
)
from keras_int8nmt.calibration.from_sentences import calibrate as calibrate_model
from keras_int8nmt.cli.autotune import convert_by, tune
from keras_int8nmt.conversion.converter import ConversionError
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.files.lines import check_writable_file, read_pairs
from keras_int8nmt.layers.model_state import observers
from keras_int8nmt.storage.card import check_replaceable
from keras_int8nmt.storage.model_folder import open_model, save_folder
from keras_int8nmt.storage.state import state_of
from keras_int8nmt.thresholds.errors import CalibrationError

# What a model card tells of calibration.
CALIBRATION_ENTRIES = ("thresholds_mode", "unsigned", "balance", "data")


class UsageError(KerasInt8nmtError, ValueError):
    """What the user asked for can't be done; the message says why."""


def calibrate(
    model: str,
    data: str,
    targets: str | None,
    mode: str,
    output: str,
    force: bool,
    feed: str | None = None,
    beam_size: int | None = None,
    unsigned: bool = True,
    balance: float | None = None,
) -> dict[str, Any]:
    """Calibrates a float model on sentences, balanced if that is asked for, and saves it."""
    if beam_size is not None and feed != "beam":
        raise UsageError("--beam-size is for --feed beam alone.")
    beam_size = beam_size or DEFAULT_BEAM
    try:
        feed = check_feed(feed, targets is not None, beam_size)
    except ValueError as error:
        raise UsageError(str(error)) from error
    check_replaceable(output, force)
    sources, references = read_pairs(data, targets)
    loaded, tokenizer, _ = open_with_tokenizer(model)
    if state_of(loaded) == "converted" or not observers(loaded):
        raise UsageError(f"{model} is not a float model that can be calibrated.")
    start = time.perf_counter()
    settings: dict[str, Any] = {
        "mode": mode,
        "feed": feed,
        "beam_size": beam_size,
        "unsigned": unsigned,
        "progress": True,
    }
    if balance is None:
        thresholds = calibrate_model(loaded, tokenizer, sources, references, **settings)
    else:
        loaded, thresholds = calibrate_balanced(
            loaded, tokenizer, sources, references, alpha=balance, **settings
        )
    figures = {
        "mode": mode,
        "sentences": sum(1 for line in sources if line.strip()),
        "thresholds": len(thresholds),
        "seconds": time.perf_counter() - start,
    }
    description = {
        "source": Path(data).name,
        "targets": _fed(feed, targets, beam_size),
        "sentences": figures["sentences"],
    }
    card: dict[str, Any] = {"thresholds_mode": mode, "unsigned": unsigned, "data": description}
    if balance is not None:
        card["balance"] = balance
    save_folder(loaded, output, tokenizer, card, force)
    print(
        f"{figures['thresholds']} thresholds ({mode}) from {figures['sentences']} sentences in "
        f"{figures['seconds']:.1f} s: {output}"
    )
    return figures


def _fed(feed: str, targets: str | None, beam_size: int) -> str:
    """What the decoder was fed, for the model card."""
    if targets is not None:
        return Path(targets).name
    return f"beam {beam_size}" if feed == "beam" else feed


def autotune(
    model: str,
    src: str,
    ref: str,
    output: str,
    force: bool,
    tolerance: float,
    modes: list[str] | None,
    candidates: list[str] | None,
    budget: int,
    state: str | None,
    **search: Any,
) -> dict[str, Any]:
    """Finds which MatMuls of a calibrated model to convert and writes the policy."""
    check_writable_file(output, force)
    sources, references = read_pairs(src, ref)
    loaded, tokenizer, card = open_with_tokenizer(model)
    if state_of(loaded) == "converted":
        raise UsageError(f"{model} is converted already.")
    result = tune(
        loaded,
        tokenizer,
        sources,
        references,
        output=output,
        tolerance=tolerance,
        modes=modes,
        candidates=candidates,
        unsigned=card.get("unsigned", True),
        budget=budget,
        state=state,
        search=search,
    )
    print(result.to_text())
    return result.to_dict()


def convert(
    model: str, output: str, force: bool, policy: str | None = None, **options: Any
) -> dict[str, Any]:
    """Makes the INT8 model of a calibrated one, or with dynamic scales of any, and saves it."""
    check_replaceable(output, force)
    loaded, tokenizer, card = open_model(model)
    if state_of(loaded) == "converted":
        raise UsageError(f"{model} is converted already.")
    try:
        int8, tuned = convert_by(loaded, policy, **options)
    except (ConversionError, CalibrationError, PolicyFileError):
        raise
    except ValueError as error:
        # Options that do not go together.
        raise UsageError(str(error)) from error
    if tuned is not None:
        options.update(tuned.candidate.convert_options)
    # What says how thresholds were found says nothing of a model that has none.
    described = CALIBRATION_ENTRIES if options.get("activations") != "dynamic" else ("balance",)
    kept: dict[str, Any] = {k: card[k] for k in described if k in card}
    if tuned is not None and tuned.mode is not None and "thresholds_mode" in described:
        kept.update(thresholds_mode=tuned.mode, unsigned=tuned.unsigned)
    # The bits of the weights stand in the conversion report.
    kept.update({k: v for k, v in options.items() if k != "weight_bits"})
    save_folder(int8, output, tokenizer, kept, force)
    report = int8.conversion_report
    done = sum(row.precision == "int8" for row in report.rows)
    bits = report.weight_bits
    print(f"{done} of {len(report.rows)} MatMuls in INT8, weights of {bits} bits: {output}")
    return {"precision": report.precision, **json.loads(report.to_json())}


def open_with_tokenizer(path: str, quant: bool = True) -> tuple[Any, Any, dict[str, Any]]:
    """`open_model`, and an error where there is no tokenizer."""
    model, tokenizer, card = open_model(path, quant=quant)
    if tokenizer is None:
        raise UsageError(f"{path} has no tokenizer.")
    return model, tokenizer, card
