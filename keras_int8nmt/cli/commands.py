"""The commands by name. To add one, add its file and a row to `COMMANDS`.

A command's file imports at its top what every command may wait for; what its options say of the
library is imported when they are added, and what it works with when it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Protocol

from keras_int8nmt.cli import (
    autotune,
    bench,
    calibrate,
    convert,
    demo,
    evaluate,
    info,
    report,
    resave,
    translate,
)

# What a command measured or found, for `--json`.
Figures = dict[str, Any]


class Command(Protocol):
    """What the file of a command has.

    Attributes:
        SUMMARY: What it does, in a sentence.
        run: Called with its options by name: checks, works, prints, and returns its figures. Raises
            a `KerasInt8nmtError` for what the user can mend.
    """

    SUMMARY: str
    run: Callable[..., Figures]

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds its options; `--json` is every command's."""


COMMANDS: dict[str, Command] = {
    "demo": demo,
    "calibrate": calibrate,
    "autotune": autotune,
    "convert": convert,
    "translate": translate,
    "evaluate": evaluate,
    "bench": bench,
    "report": report,
    "info": info,
    "resave": resave,
}
