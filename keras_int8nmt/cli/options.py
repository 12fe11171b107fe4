"""Options that several commands have, and what their values may be.

The functions of values are types of `argparse`: they name what is wrong with a word.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from keras_int8nmt.runtime.search_options import command_line_options


def add_output(parser: argparse.ArgumentParser, metavar: str, required: bool) -> None:
    default = "" if required else "; default: stdout"
    parser.add_argument(
        "-o", "--output", required=required, metavar=metavar, help="where to write" + default
    )
    add_force(parser)


def add_force(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--force", action="store_true", help="replace what is there")


def add_search(parser: argparse.ArgumentParser) -> None:
    """Those of `SearchOptions`, and how sentences share the work."""
    for option in command_line_options():
        kind: Any = not_negative if option.least is None else partial(_whole, option.least)
        parser.add_argument(
            option.flag,
            type=kind,
            default=option.default,
            help=f"{option.help}; default: {option.default}",
        )
    parser.add_argument("--batch-size", type=positive, default=32, help="default: 32")
    parser.add_argument("--streams", type=streams, default="auto", help="default: auto")


def add_verbose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--verbose", action="store_true", help="tell on stderr how the model is opened"
    )


def positive(text: str) -> int:
    return _whole(1, text)


def _whole(least: int, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def mode(text: str) -> str:
    from keras_int8nmt.thresholds.modes import parse_mode

    try:
        parse_mode(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def not_negative(text: str) -> float:
    return _number(text, float("inf"), "a number of at least 0")


def share(text: str) -> float:
    return _number(text, 1.0, "a number from 0 to 1")


def confidence(text: str) -> float:
    value = _number(text, 1.0, wanted := "a number from 0.5 to below 1")
    if not 0.5 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def streams(text: str) -> int | str:
    return text if text == "auto" else positive(text)


def _number(text: str, most: float, wanted: str) -> float:
    """A finite number from 0 to `most`."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= most or value == float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value
