"""`keras-int8nmt report`: what conversion or calibration did, as a table and as a page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_int8nmt._tables import format_table
from keras_int8nmt.cli.calibrate import CARD_ENTRIES
from keras_int8nmt.cli.errors import UsageError
from keras_int8nmt.cli.opening import open_folder
from keras_int8nmt.cli.options import add_force, add_search
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.files.lines import check_writable_file, read_pairs
from keras_int8nmt.storage.recognition import recognise

if TYPE_CHECKING:
    from keras_int8nmt.report.data import ReportData
    from keras_int8nmt.report.quality import Quality


# Sentences of the test set on which the SQNR of outputs is measured.
_SAMPLE = 32


class ReportError(KerasInt8nmtError, ValueError):
    """The page can't be made; the message says why."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="DIR", help="a calibrated model, or a converted one")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="also write one HTML page with all of it: of a calibrated model the histograms and "
        "thresholds of all tensors, and what conversion makes of it",
    )
    add_force(parser)
    parser.add_argument(
        "--converted",
        metavar="DIR",
        help="of a calibrated model: the INT8 model that was made of it; by default it is made",
    )
    parser.add_argument("--src", metavar="F", help="sentences to compare translations of")
    parser.add_argument("--ref", metavar="F", help="their translations")
    add_search(parser)


def run(
    model: str,
    output: str | None = None,
    force: bool = False,
    converted: str | None = None,
    src: str | None = None,
    ref: str | None = None,
    **search: Any,
) -> dict[str, Any]:
    """Prints what conversion or calibration did; also writes a page of it."""
    for name, value in (("--converted", converted), ("--src", src), ("--ref", ref)):
        if value is not None and output is None:
            raise UsageError(f"{name} is for the page that -o writes.")
    if (src is None) != (ref is None):
        raise UsageError("--src and --ref belong together.")
    check_writable_file(output, force)
    test_set = None if src is None or ref is None else read_pairs(src, ref)
    if test_set is not None:
        _check_seed()
    if converted is not None:
        recognise(converted)
    loaded, tokenizer, card = open_folder(model)

    from keras_int8nmt.storage.state import state_of

    state = state_of(loaded)
    if state == "float":
        raise UsageError(f"{model} is neither calibrated nor converted.")
    if converted is not None and state == "converted":
        raise UsageError(f"{model} is converted itself; --converted is for a calibrated model.")
    page = None
    if output is not None:
        opened = loaded, tokenizer, card
        page = write_page(model, output, opened, converted, test_set, src, search)
    figures = _print_report(model, loaded, state, card)
    if page is not None:
        print(f"{len(page.tensors)} tensors, {len(page.matmuls)} MatMuls: {output}")
        figures["report"] = page.to_dict()
    return figures


def _print_report(model: str, loaded: Any, state: str, card: dict[str, Any]) -> dict[str, Any]:
    for key in CARD_ENTRIES:
        if key in card:
            print(f"{key}: {card[key]}")
    if "bleu" in card:
        print(f"BLEU: {card['bleu']}")
    if state == "converted":
        if loaded.conversion_report is None:
            raise UsageError(f"{model} carries no conversion report.")
        print(loaded.conversion_report.to_text())
        content = json.loads(loaded.conversion_report.to_json())
        return {"state": state, "precision": loaded.conversion_report.precision, **content}

    from keras_int8nmt.layers.model_state import observers

    rows = [
        {"name": path, "thresholds": [float(t) for t in observer.thresholds()]}
        for path, observer in observers(loaded)
        if observer.is_calibrated
    ]
    table: list[tuple[str, ...]] = [("input of", "from", "to")]
    table += [(str(r["name"]), *(f"{t:.5g}" for t in r["thresholds"])) for r in rows]
    print(format_table(table))
    return {"state": state, "precision": "float32", "rows": rows}


def _check_seed() -> None:
    from keras_int8nmt.evaluation.significance import seed_of_tests

    try:
        seed_of_tests()
    except ValueError as error:
        raise ReportError(str(error)) from error


def write_page(
    model: str,
    output: str,
    opened: tuple[Any, Any, dict[str, Any]],
    converted: str | None,
    test_set: tuple[list[str], list[str]] | None,
    source: str | None,
    search: dict[str, Any],
) -> ReportData:
    """Writes the page of a model folder.

    Args:
        model: The folder.
        output: The file; it is replaced.
        opened: What `open_model` gave: model, tokenizer and card.
        converted: The folder of the INT8 model that was made of it.
        test_set: Sentences and references.
        source: The file of the sentences.
        search: Arguments of `Translator`.

    Raises:
        ReportError: when the models don't belong together or can't translate.
    """
    from keras_int8nmt.calibration.from_sentences import sample_batch
    from keras_int8nmt.conversion.converter import convert
    from keras_int8nmt.models.transformer import Transformer
    from keras_int8nmt.report.data import check_made_of
    from keras_int8nmt.report.write import write_report
    from keras_int8nmt.storage.model_folder import open_model
    from keras_int8nmt.storage.state import state_of

    loaded, tokenizer, card = opened
    if test_set is not None and tokenizer is None:
        raise ReportError(f"{model} has no tokenizer.")
    int8 = None
    if converted is not None:
        int8, _, _ = open_model(converted)
        if state_of(int8) != "converted":
            raise ReportError(f"{converted} is not a converted model.")
        try:
            check_made_of(loaded, int8)
        except ValueError as error:
            raise ReportError(str(error)) from error
    elif state_of(loaded) == "calibrated":
        sample = None
        if test_set is not None and isinstance(loaded, Transformer):
            sample = sample_batch(loaded, tokenizer, *(side[:_SAMPLE] for side in test_set))
        int8 = convert(loaded, sample=sample)
    quality = None
    if test_set is not None:
        name = None if source is None else Path(source).name
        quality = _quality(loaded, int8, tokenizer, test_set, name, search)
    title = Path(model).resolve().name
    try:
        return write_report(
            loaded, output, converted=int8, quality=quality, card=card, title=title, force=True
        )
    except ValueError as error:
        raise ReportError(str(error)) from error


def _quality(
    loaded: Any,
    int8: Any,
    tokenizer: Any,
    test_set: tuple[list[str], list[str]],
    source: str | None,
    search: dict[str, Any],
) -> Quality:
    from keras_int8nmt._progress import progress_bar
    from keras_int8nmt.models.plain import plain_model
    from keras_int8nmt.report.quality import measure_quality
    from keras_int8nmt.translation.translator import Translator

    before, after = (None, loaded) if int8 is None else (loaded, int8)
    # A float model without its observers: the same answers, faster.
    first = None if before is None else Translator(plain_model(before), tokenizer, **search)
    second = Translator(after, tokenizer, **search)
    sources, references = test_set
    total = len(sources) * (1 if first is None else 2)
    with progress_bar(total, "translating") as bar:
        return measure_quality(
            first, second, sources, references, progress=bar.update, source=source
        )
