"""`write_report`: collects the data of a model and writes one HTML page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from keras_int8nmt.files.lines import check_writable_file, write_lines
from keras_int8nmt.report.data import ReportData, collect
from keras_int8nmt.report.html import render
from keras_int8nmt.report.quality import Quality


def write_report(
    model: Any,
    path: str | os.PathLike[str],
    *,
    converted: Any = None,
    quality: Quality | None = None,
    card: Mapping[str, Any] | None = None,
    title: str | None = None,
    force: bool = False,
) -> ReportData:
    """Writes one HTML page on what INT8 does to a model; it loads nothing from anywhere.

    Of a calibrated model: the histogram of every tensor with its thresholds, its class as in arXiv
    1906.00532 (section 4.2), clipped mass and SQNR, and the MatMuls, INT8 or float and why. Of a
    converted model: its conversion report; the page says what it can't show.

    Args:
        model: A calibrated or a converted model.
        path: The file.
        converted: What conversion made of a calibrated `model`; by default `convert(model)`.
        quality: Translations compared, from `measure_quality`, to be shown as well.
        card: The model card, as `load_folder` gives it.
        title: A name for the model; by default its own.
        force: Replace the file if there is one.

    Returns:
        What the page shows.

    Raises:
        TextFileError: when the file exists and `force` is not set, or its folder does not.
        ValueError: when the model is neither calibrated nor converted, or when `converted` was not
            made of it.

    Example:

        >>> int8 = convert(model)
        >>> before, after = Translator(model, tokenizer), Translator(int8, tokenizer)
        >>> quality = measure_quality(before, after, sources, references)
        >>> write_report(model, "report.html", converted=int8, quality=quality)
    """
    check_writable_file(path, force)
    data = collect(model, converted=converted, quality=quality, card=card, title=title)
    write_lines(path, render(data).removesuffix("\n").split("\n"))
    return data
