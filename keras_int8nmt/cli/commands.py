"""The commands by name. To add one, add its file and a row to `COMMANDS`.

The file of a command is imported when the command is asked for. What its options say of the library
it imports when they are added, and what it works with when it runs.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any, Protocol, cast

# What a command measured or found, for `--json`.
Figures = dict[str, Any]


class CommandFile(Protocol):
    """What the file of a command has.

    Attributes:
        run: Called with its options by name: checks, works, prints, and returns its figures. Raises
            a `KerasInt8nmtError` for what the user can mend.
    """

    run: Callable[..., Figures]

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds its options; `--json` is every command's."""


# What each does, in a sentence; its file in this room has the same name.
COMMANDS = {
    "demo": "Translate with the built-in model: INT8 beside float.",
    "calibrate": "Find the thresholds of a float model on sample sentences.",
    "autotune": "Find the fastest precision of each MatMul within a tolerance.",
    "convert": "Make the INT8 model of a calibrated one.",
    "translate": "Translate text: as many lines out as in, in their order.",
    "serve": "Answer requests to translate, by LibreTranslate's public interface.",
    "evaluate": "Measure BLEU, chrF, TER, speed and memory; of several also whether they differ.",
    "bench": "Measure speed on this machine, or what INT8 costs in BLEU.",
    "report": "Say what conversion or calibration did to each MatMul.",
    "info": "Tell what a model folder holds, and what would run it here.",
    "export": "Write a model and its search as a TensorFlow SavedModel.",
    "resave": "Save a model folder anew: with a model spec, so that translating needs no Keras.",
}


def command_file(name: str) -> CommandFile:
    """The file of a command of the table."""
    return cast(CommandFile, importlib.import_module(f"keras_int8nmt.cli.{name}"))
