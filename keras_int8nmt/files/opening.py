"""Opens what is read and what is written, whatever its format."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from keras_int8nmt.files.journal import ResumeError
from keras_int8nmt.files.lines import TextFileError
from keras_int8nmt.files.output import Output, open_output
from keras_int8nmt.files.parquet import (
    ParquetRows,
    ParquetSource,
    count_rows,
    open_parquet_output,
)
from keras_int8nmt.files.records import FORMATS as LINE_FORMATS
from keras_int8nmt.files.records import OUTPUT_FIELD, LineFormat, make_format
from keras_int8nmt.files.source import LineSource, count_lines

FORMATS = (*LINE_FORMATS, "parquet")


def format_of(name: str, field: str | None, output_field: str | None) -> LineFormat:
    """The format of a name in `FORMATS`: `make_format`, or the columns of Parquet.

    Args:
        name: One of `FORMATS`.
        field: As for `make_format`; in parquet a column, "text" by default.
        output_field: Likewise; in parquet the column of the translations, "translation" by default.

    Raises:
        ValueError: when the format has no such thing.
    """
    if name != "parquet":
        return make_format(name, field, output_field)
    return ParquetRows(field or "text", output_field or OUTPUT_FIELD)


def open_source(
    path: str | os.PathLike[str] | None, form: LineFormat, window: int
) -> LineSource | ParquetSource:
    """What is read, at its beginning; a context manager.

    Args:
        path: The file; None: stdin.
        form: What its lines or rows are.
        window: Most of them in a window.

    Raises:
        TextFileError, ParquetError, CompressedFileError, OSError: why it can't be opened.
    """
    if not isinstance(form, ParquetRows):
        return LineSource(path, form, window)
    if path is None:
        raise TextFileError("Parquet is read from a file, not from stdin.")
    return ParquetSource(path, form, window)


def open_sink(
    path: str | os.PathLike[str] | None,
    source: str | os.PathLike[str] | None,
    form: LineFormat,
    describe: Callable[[], dict[str, Any]],
    on_error: str,
    *,
    force: bool = False,
    resume: bool = False,
) -> Output | None:
    """`open_output` of the format of `source`, which is the file that was opened to be read.

    Raises:
        ResumeError, TextFileError, CompressedFileError: why it can't be opened.
    """
    if not isinstance(form, ParquetRows):
        return open_output(path, describe, on_error, force=force, resume=resume)
    if path is None:
        raise ResumeError("Parquet is written to a file: -o FILE.")
    assert source is not None
    return open_parquet_output(path, source, form, describe, on_error, force=force, resume=resume)


def count_records(path: str | os.PathLike[str], form: LineFormat) -> int:
    """Lines of a file, or rows."""
    return count_rows(path) if isinstance(form, ParquetRows) else count_lines(path)
