"""The page of `keras-int8nmt report -o`: translators are made, then the page is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_int8nmt._progress import progress_bar
from keras_int8nmt.calibration.from_sentences import sample_batch
from keras_int8nmt.conversion.converter import convert
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.evaluation.significance import seed_of_tests
from keras_int8nmt.models.plain import plain_model
from keras_int8nmt.models.transformer import Transformer
from keras_int8nmt.report.data import ReportData, check_made_of
from keras_int8nmt.report.quality import Quality, measure_quality
from keras_int8nmt.report.write import write_report
from keras_int8nmt.storage.model_folder import open_model
from keras_int8nmt.storage.state import state_of
from keras_int8nmt.translation.translator import Translator

# Sentences of the test set on which the SQNR of outputs is measured.
_SAMPLE = 32


class ReportError(KerasInt8nmtError, ValueError):
    """The page can't be made; the message says why."""


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
    loaded, tokenizer, card = opened
    if test_set is not None:
        try:
            seed_of_tests()
        except ValueError as error:
            raise ReportError(str(error)) from error
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
