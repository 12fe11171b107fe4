"""`keras-int8nmt calibrate`: a float model and sentences in, a calibrated model out."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from keras_int8nmt.cli.errors import UsageError
from keras_int8nmt.cli.opening import open_with_tokenizer
from keras_int8nmt.cli.options import add_output, check_output_folder, mode, positive, share
from keras_int8nmt.files.lines import read_pairs

# What a model card tells of calibration.
CARD_ENTRIES = ("thresholds_mode", "unsigned", "balance", "data")


def add_options(parser: argparse.ArgumentParser) -> None:
    from keras_int8nmt.calibration.options import DEFAULT_ALPHA, DEFAULT_BEAM, FEEDS
    from keras_int8nmt.thresholds.modes import DEFAULT_MODE, modes_help

    parser.add_argument(
        "model",
        metavar="FLOAT_MODEL",
        help="one of ours, Marian's, or another program's",
    )
    parser.add_argument("--data", required=True, metavar="SOURCE", help="one sentence a line")
    parser.add_argument(
        "--targets",
        metavar="FILE",
        help="their translations, which the decoder is fed",
    )
    parser.add_argument(
        "--feed",
        # That of targets is asked for by giving them.
        choices=[feed for feed in FEEDS if feed != "targets"],
        help="without --targets: the decoder is fed the model's own greedy translations (default), "
        "or observed in each step of a beam search",
    )
    parser.add_argument(
        "--beam-size",
        type=positive,
        metavar="N",
        help=f"of --feed beam alone; default: {DEFAULT_BEAM}",
    )
    parser.add_argument(
        "--mode",
        type=mode,
        default=DEFAULT_MODE,
        help=f"how thresholds are chosen. {modes_help()}. Default: %(default)s",
    )
    parser.add_argument(
        "--unsigned",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether what is never negative, as after ReLU, is uint8 (default) or int8",
    )
    parser.add_argument(
        "--balance",
        type=share,
        nargs="?",
        const=DEFAULT_ALPHA,
        metavar="ALPHA",
        help="calibrate, even out the channels of activations and weights (SmoothQuant), calibrate "
        "again. ALPHA: from 0 to 1, how much goes to the weights; default: %(const)s",
    )
    add_output(parser, "DIR", required=True)


def run(
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
    from keras_int8nmt.calibration.options import DEFAULT_BEAM, check_feed

    if beam_size is not None and feed != "beam":
        raise UsageError("--beam-size is for --feed beam alone.")
    beam_size = beam_size or DEFAULT_BEAM
    try:
        feed = check_feed(feed, targets is not None, beam_size)
    except ValueError as error:
        raise UsageError(str(error)) from error
    check_output_folder(output, force)
    sources, references = read_pairs(data, targets)
    loaded, tokenizer, _ = open_with_tokenizer(model)

    from keras_int8nmt.calibration.from_sentences import calibrate, calibrate_balanced
    from keras_int8nmt.layers.model_state import observers
    from keras_int8nmt.storage.model_folder import save_folder
    from keras_int8nmt.storage.state import state_of

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
        thresholds = calibrate(loaded, tokenizer, sources, references, **settings)
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
