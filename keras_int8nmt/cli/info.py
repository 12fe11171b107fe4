"""`keras-int8nmt info`: what a model folder holds and what runs it, told without Keras."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from keras_int8nmt import native
from keras_int8nmt.cli.calibrate import CARD_ENTRIES
from keras_int8nmt.cli.opening import check_native
from keras_int8nmt.importers.table import Format, describe_foreign
from keras_int8nmt.runtime.gemm_cache import Shape
from keras_int8nmt.runtime.gemm_choice import choose_gemm, int8_shapes, measured_gemm
from keras_int8nmt.runtime.gemm_table import format_gemm, gemm_figures
from keras_int8nmt.runtime.spec_file import read_spec
from keras_int8nmt.storage.card import MODEL_FILE, has_spec, read_card, search_defaults_of
from keras_int8nmt.storage.recognition import recognise

_MOST_LISTED = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="one of ours, Marian's, or another program's; default: none, what runs here alone",
    )


def run(model: str | None = None) -> dict[str, Any]:
    """Prints the facts of a folder, a line each; reads no weights.

    Then what was measured of the INT8 back ends: of the folder's own shapes, measured now if they
    were not, or without a folder of all that this machine has met.
    """
    check_native()
    figures: dict[str, Any] = {}
    shapes: list[Shape] | None = None
    if model is not None:
        found = recognise(model)
        figures = _foreign(model, found) if found is not None else _ours(model)
        shapes = [] if found is not None else _shapes(model)
    figures["native"] = native.info()
    for name, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {entry}" for key, entry in value.items())
        if isinstance(value, list) and name != "opened by":
            value = _listed(name, value)
        print(f"{name}: {value}")
    products = _products(shapes)
    if products:
        print(f"INT8 products, 10^9 operations a second of one core:\n{format_gemm(products)}")
    return {**figures, "products": products}


def _shapes(model: str) -> list[Shape]:
    """Of the INT8 weights; a folder without a spec tells them when it is loaded."""
    return int8_shapes(read_spec(model)) if has_spec(read_card(model)) else []


def _products(shapes: list[Shape] | None) -> list[dict[str, Any]]:
    """What is known of these shapes; None: of all."""
    if not native.info()["native"]:
        return []
    choose_gemm(shapes or [])
    known = measured_gemm()
    wanted = known if shapes is None else {each: known[each] for each in shapes if each in known}
    return gemm_figures(wanted, native.gemm_choice()["rows"])


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
    if "tokenizer" in card:
        figures["tokenizer"] = card["tokenizer"]
    if search := search_defaults_of(model, card).to_json():
        figures["search"] = search
    ways = {"load_translator": has_spec(card), "Keras": MODEL_FILE in files}
    return {**figures, "opened by": [name for name, there in ways.items() if there]}
