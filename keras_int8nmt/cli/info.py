"""`keras-int8nmt info`: what a model folder holds, told without Keras."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from keras_int8nmt import native
from keras_int8nmt.cli.calibrate import CARD_ENTRIES
from keras_int8nmt.cli.opening import check_native
from keras_int8nmt.importers.table import Format, describe_foreign
from keras_int8nmt.runtime.spec_file import read_spec
from keras_int8nmt.storage.card import MODEL_FILE, has_spec, read_card, search_defaults_of
from keras_int8nmt.storage.recognition import recognise

_MOST_LISTED = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="one of ours, Marian's, or another program's",
    )


def run(model: str) -> dict[str, Any]:
    """Prints the facts of a folder, a line each; reads no weights."""
    check_native()
    found = recognise(model)
    figures = _foreign(model, found) if found is not None else _ours(model)
    figures["native"] = native.info()
    for name, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {entry}" for key, entry in value.items())
        if isinstance(value, list) and name != "opened by":
            value = _listed(name, value)
        print(f"{name}: {value}")
    return figures


def _listed(name: str, value: list[Any]) -> str:
    """Sentences a line each; of the others some."""
    if name in ("notes", "problems"):
        return "".join(f"\n  {each}" for each in value)
    more = len(value) - _MOST_LISTED
    return ", ".join(map(str, value[:_MOST_LISTED])) + (f" and {more} more" if more > 0 else "")


def _foreign(model: str, found: Format) -> dict[str, Any]:
    path = Path(model)
    files = [path] if path.is_file() else [each for each in path.iterdir() if each.is_file()]
    figures = {
        "format": found.name,
        "bytes": sum(each.stat().st_size for each in files),
        "state": "float",
        **describe_foreign(path, found),
    }
    return {**figures, "opened by": [] if figures.get("problems") else ["Keras"]}


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
    if search := search_defaults_of(model, card).to_json():
        figures["search"] = search
    ways = {"load_translator": has_spec(card), "Keras": MODEL_FILE in files}
    return {**figures, "opened by": [name for name, there in ways.items() if there]}
