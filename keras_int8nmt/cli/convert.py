"""`keras-int8nmt convert`: a calibrated model in, the INT8 model that is made of it out."""

from __future__ import annotations

import argparse
import json
from typing import Any

from keras_int8nmt.cli.calibrate import CARD_ENTRIES
from keras_int8nmt.cli.errors import UsageError
from keras_int8nmt.cli.opening import check_calibrated, open_folder
from keras_int8nmt.cli.options import add_output, check_output_folder
from keras_int8nmt.errors import KerasInt8nmtError


def add_options(parser: argparse.ArgumentParser) -> None:
    from keras_int8nmt.conversion.options import WEIGHT_SCALES, ConversionOptions
    from keras_int8nmt.conversion.policy import NAMED_POLICIES
    from keras_int8nmt.ops.integer_rules import ARITHMETICS
    from keras_int8nmt.quantization import ACTIVATION_SCALES

    default = ConversionOptions()
    parser.add_argument(
        "model", metavar="DIR", help="a calibrated model; with dynamic scales any float one"
    )
    parser.add_argument(
        "--weight-bits",
        type=weight_bits,
        metavar="BITS",
        help="8; 7, faster on CPUs without VNNI; or auto (default): what suits this CPU",
    )
    parser.add_argument(
        "--activations",
        choices=ACTIVATION_SCALES,
        default=default.activations,
        help="where the scales of activations come from. static: calibration. dynamic: each row's "
        "own largest value, found when it is multiplied; no calibration is needed. Default: "
        "%(default)s",
    )
    parser.add_argument(
        "--weights",
        choices=WEIGHT_SCALES,
        default=default.weights,
        help="scales of the int8 weights: one for each output channel, or one for all; default: "
        "%(default)s",
    )
    parser.add_argument(
        "--softmax",
        choices=ARITHMETICS,
        default=default.softmax,
        help="of attention; integer: in whole numbers, as I-BERT; default: %(default)s",
    )
    parser.add_argument(
        "--layer-norm",
        choices=ARITHMETICS,
        default=default.layer_norm,
        help="likewise of LayerNorm",
    )
    parser.add_argument(
        "--bias-correction",
        action="store_true",
        help="take the mean error of the int8 weights on the calibration data off the biases",
    )
    all_int8, *others = NAMED_POLICIES
    parser.add_argument(
        "--policy",
        metavar="NAME_OR_FILE",
        help=f"which MatMuls become INT8: {all_int8} (all, the default), {', '.join(others)}, or a "
        "file: what autotune wrote, or JSON from names of MatMuls to int8 or float32",
    )
    parser.add_argument(
        "--runtime-only",
        action="store_true",
        help="save what translating needs and no Keras model: half the size",
    )
    add_output(parser, "DIR", required=True)


def weight_bits(text: str) -> int | None:
    """A type of `argparse`; None: what suits this CPU."""
    from keras_int8nmt.quantization import WEIGHT_RANGE

    known = sorted(map(str, WEIGHT_RANGE))
    if text not in (*known, "auto"):
        raise argparse.ArgumentTypeError(f"{text!r} is not {', '.join(known)} or auto")
    return None if text == "auto" else int(text)


def run(
    model: str,
    output: str,
    force: bool,
    policy: str | None = None,
    runtime_only: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Makes the INT8 model of a calibrated one, or with dynamic scales of any, and saves it."""
    from keras_int8nmt.autotuning.result import AutotuneResult, PolicyFileError

    check_output_folder(output, force)
    chosen = find_policy(policy)
    tuned = chosen if isinstance(chosen, AutotuneResult) else None
    # Those of the candidate that was chosen win.
    options.update({} if tuned is None else tuned.candidate.convert_options)
    _check_options(options)
    loaded, tokenizer, card = open_folder(model)

    from keras_int8nmt.conversion.converter import convert
    from keras_int8nmt.storage.model_folder import save_folder
    from keras_int8nmt.storage.state import state_of

    if state_of(loaded) == "converted":
        raise UsageError(f"{model} is converted already.")
    if options["activations"] != "dynamic":
        check_calibrated(
            model, loaded, ", or convert with --activations dynamic, which needs no calibration"
        )
    try:
        if tuned is not None:
            int8 = tuned.convert(loaded, **options)
        else:
            int8 = convert(loaded, policy=chosen, **options)
    except KerasInt8nmtError:
        raise
    except ValueError as error:
        # The policy is not of this model.
        raise PolicyFileError(f"{policy!r}: {error}") from error
    # What says how thresholds were found says nothing of a model that has none.
    described = CARD_ENTRIES if options["activations"] != "dynamic" else ("balance",)
    kept: dict[str, Any] = {k: card[k] for k in described if k in card}
    if tuned is not None and tuned.mode is not None and "thresholds_mode" in described:
        kept.update(thresholds_mode=tuned.mode, unsigned=tuned.unsigned)
    # The bits of the weights stand in the conversion report.
    kept.update({k: v for k, v in options.items() if k != "weight_bits"})
    save_folder(int8, output, tokenizer, kept, force, keras=not runtime_only)
    report = int8.conversion_report
    done = sum(row.precision == "int8" for row in report.rows)
    bits = report.weight_bits
    print(f"{done} of {len(report.rows)} MatMuls in INT8, weights of {bits} bits: {output}")
    return {"precision": report.precision, **json.loads(report.to_json())}


def find_policy(policy: str | None) -> Any:
    """A policy by its name, or out of the file that holds one.

    Returns:
        None or a name as it is; of a file an `AutotuneResult` or a mapping.

    Raises:
        PolicyFileError: when there is no such policy.
    """
    from keras_int8nmt.autotuning.result import PolicyFileError, read_policy
    from keras_int8nmt.conversion.policy import NAMED_POLICIES

    if policy is None or policy in NAMED_POLICIES:
        return policy
    try:
        return read_policy(policy)
    except FileNotFoundError as error:
        raise PolicyFileError(
            f"The policy {policy!r} is none of {', '.join(NAMED_POLICIES)}, and no file."
        ) from error


def _check_options(options: dict[str, Any]) -> None:
    from keras_int8nmt.conversion.options import ConversionOptions

    # What suits this CPU is found when it is converted.
    given = {name: value for name, value in options.items() if value is not None}
    try:
        ConversionOptions(**given)
    except ValueError as error:
        # Options that do not go together.
        raise UsageError(str(error)) from error
