"""`keras-int8nmt resave`: a folder of an earlier release, as this one would have saved it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from keras_int8nmt.cli.opening import open_folder
from keras_int8nmt.cli.options import add_output, check_output_folder
from keras_int8nmt.storage.card import own_entries, read_card


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="DIR", help="a folder that a command or save_folder wrote")
    parser.add_argument(
        "--runtime-only",
        action="store_true",
        help="save what translating needs and no Keras model: half the size",
    )
    add_output(parser, "DIR", required=True)


def run(model: str, output: str, force: bool, runtime_only: bool = False) -> dict[str, Any]:
    """Saves a model and all of its card's entries again."""
    check_output_folder(output, force)
    read_card(model)
    loaded, tokenizer, card = open_folder(model)

    from keras_int8nmt.storage.model_folder import save_folder

    save_folder(loaded, output, tokenizer, own_entries(card), force, keras=not runtime_only)
    files = {path.name: path.stat().st_size for path in sorted(Path(output).iterdir())}
    print(f"{', '.join(files)}: {output}")
    return {"files": files}
