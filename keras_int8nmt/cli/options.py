"""Options that several commands have, and what their values may be.

The functions of values are types of `argparse`: they name what is wrong with a word.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from keras_int8nmt._arguments import MOST_INT32
from keras_int8nmt.cli.errors import UsageError
from keras_int8nmt.runtime.batching import MOST_BATCH, MOST_STREAMS
from keras_int8nmt.runtime.search_defaults import of_model
from keras_int8nmt.runtime.search_options import command_line_options
from keras_int8nmt.storage.card import check_replaceable

# More than any number here has.
_MOST_DIGITS = 20


def add_output(parser: argparse.ArgumentParser, metavar: str, required: bool) -> None:
    default = "" if required else "; default: stdout"
    parser.add_argument(
        "-o", "--output", required=required, metavar=metavar, help="where to write" + default
    )
    add_force(parser)


def add_force(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--force", action="store_true", help="replace what is there")


def check_output_folder(path: str, force: bool) -> None:
    """Raises where the folder of a model can't be written, before any work is done.

    Raises:
        UsageError: where it is there, and `--force` was not given.
        ModelFolderError: see `check_replaceable`.
    """
    check_replaceable(path, force=True)
    if Path(path).exists() and not force:
        raise UsageError(f"{path!r} exists already; --force replaces it.")


def add_search(parser: argparse.ArgumentParser) -> None:
    """Those of `SearchOptions`, and how sentences share the work."""
    add_search_options(parser)
    parser.add_argument("--streams", type=streams, default="auto", help="default: auto")


def add_search_options(parser: argparse.ArgumentParser, token_filters: bool = True) -> None:
    """Those of `SearchOptions`, without those that stand for token filters if need be; and
    `--batch-size`."""
    for option in command_line_options():
        if option.is_filter and not token_filters:
            continue
        kind: Any = partial(_number, option.most)
        if option.least is not None:
            kind = partial(whole, option.least, int(option.most))
        parser.add_argument(
            option.flag,
            type=kind,
            default=of_model(option.default),
            help=f"{option.help}; default: {option.default}, unless MODEL says otherwise",
        )
    parser.add_argument(
        "--batch-size", type=partial(whole, 1, MOST_BATCH), default=32, help="default: 32"
    )


def add_verbose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--verbose", action="store_true", help="tell on stderr how the model is opened"
    )


def positive(text: str) -> int:
    return whole(1, MOST_INT32, text)


def whole(least: int, most: int, text: str) -> int:
    # Python reads no more than 4,300 digits.
    digits = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    if not digits or not least <= int(text) <= most:
        shown = text if len(text) <= 2 * _MOST_DIGITS else text[: 2 * _MOST_DIGITS] + "..."
        raise argparse.ArgumentTypeError(
            f"{shown!r} is not a whole number of at least {least} and at most {most}"
        )
    return int(text)


def mode(text: str) -> str:
    from keras_int8nmt.thresholds.modes import parse_mode

    try:
        parse_mode(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def not_negative(text: str) -> float:
    return _number(sys.float_info.max, text)


def share(text: str) -> float:
    return _number(1.0, text)


def confidence(text: str) -> float:
    value = _number(1.0, text)
    if not 0.5 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0.5 to below 1")
    return value


def streams(text: str) -> int | str:
    return text if text == "auto" else whole(1, MOST_STREAMS, text)


def _number(most: float, text: str) -> float:
    """A number from 0 to `most`."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= most:
        wanted = "of at least 0" if most == sys.float_info.max else f"from 0 to {most:g}"
        raise argparse.ArgumentTypeError(f"{text!r} is not a number {wanted}")
    return value
