"""`keras-int8nmt info`: what a model folder holds, told without Keras."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from keras_int8nmt import native
from keras_int8nmt.cli.calibrate import CARD_ENTRIES
from keras_int8nmt.cli.opening import check_native
from keras_int8nmt.runtime.spec_file import read_spec
from keras_int8nmt.storage.card import MODEL_FILE, has_spec, read_card
from keras_int8nmt.storage.recognition import recognise


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a Marian folder, or one of ours")


def run(model: str) -> dict[str, Any]:
    """Prints the facts of a folder, a line each; reads no weights."""
    check_native()
    found = recognise(model)
    figures = _foreign(model, found.name) if found is not None else _ours(model)
    figures["native"] = native.info()
    for name, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {entry}" for key, entry in value.items())
        print(f"{name}: {value}")
    return figures


def _foreign(model: str, form: str) -> dict[str, Any]:
    size = sum(path.stat().st_size for path in Path(model).iterdir() if path.is_file())
    return {"format": form, "bytes": size, "state": "float", "opened by": ["Keras"]}


def _ours(model: str) -> dict[str, Any]:
    card = read_card(model)
    files = {name: entry["bytes"] for name, entry in card["files"].items()}
    figures = {
        "format": f"{card['format']}, version {card['format_version']}",
        "saved by": f"keras-int8nmt {card.get('keras_int8nmt_version', 'of an unknown release')}",
        "state": card["state"],
        "precision": card["precision"],
        **{name: card[name] for name in CARD_ENTRIES if name in card},
        "bytes": sum(files.values()),
        "files": files,
    }
    if has_spec(card):
        spec = read_spec(model)
        figures["parameters"] = sum(
            tensor.nbytes // tensor.itemsize for tensor in spec.tensors.values()
        )
    ways = {"load_translator": has_spec(card), "Keras": MODEL_FILE in files}
    return {**figures, "opened by": [name for name, there in ways.items() if there]}
