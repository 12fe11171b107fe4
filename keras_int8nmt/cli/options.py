"""Options that several commands have, and what their values may be.

The functions of values are types of `argparse`: they name what is wrong with a word.
"""

from __future__ import annotations

import argparse


def add_output(parser: argparse.ArgumentParser, metavar: str, required: bool) -> None:
    default = "" if required else "; default: stdout"
    parser.add_argument(
        "-o", "--output", required=required, metavar=metavar, help="where to write" + default
    )
    add_force(parser)


def add_force(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--force", action="store_true", help="replace what is there")


def add_search(parser: argparse.ArgumentParser) -> None:
    for name, kind, default in (
        ("--beam-size", positive, 4),
        ("--batch-size", positive, 32),
        ("--max-length", positive, 256),
        ("--length-penalty", not_negative, 1.0),
        ("--streams", streams, "auto"),
    ):
        parser.add_argument(name, type=kind, default=default, help=f"default: {default}")


def positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
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
