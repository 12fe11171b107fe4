"""Parquet: a column is translated, and further columns are written beside all that are there.

    OUTPUT.rows.partial     a line of JSON for each row, see `ParquetRows`
    OUTPUT.rows.progress    its journal, as that of any output

A Parquet file can't be gone on with. So rows are journaled as lines are, and when all are there,
they are joined with the columns of the input, which are read once more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.files.journal import JournaledOutput, Progress, ResumeError
from keras_int8nmt.files.lines import (
    BadLineError,
    TextFileError,
    check_writable_file,
    decode_line,
)
from keras_int8nmt.files.records import Marks, Record
from keras_int8nmt.files.source import LONGEST_LINE, TOO_LONG, WINDOW_BYTES, Window

# Rows that are read and written at once.
_ROWS = 8192
# What a null row and one that could not be read have in the place of a translation.
_NULL, _UNREAD = b"null", b""


class ParquetError(KerasInt8nmtError, ValueError):
    """A Parquet file can't be read or written; the message names it, or what is to be installed."""


class ParquetRows:
    """A `LineFormat` whose lines are the texts of a column, and in the output a translation each.

    Args:
        field: The column to translate, of text.
        output_field: The column of the translations; one of that name is replaced.
    """

    def __init__(self, field: str, output_field: str) -> None:
        self.field, self.output_field = field, output_field
        if field == output_field:
            raise ValueError(f"--output-field {field!r} would replace what is translated.")

    def parse(self, number: int, line: bytes) -> Record:
        return Record(decode_line(line), None)

    def with_translation(
        self, record: Record, translation: str, marks: Marks | None = None
    ) -> bytes:
        # In ASCII: half of a surrogate pair has no UTF-8.
        return json.dumps([translation, *(marks or Marks())]).encode("ascii")

    def without(self, record: Record) -> bytes:
        return _NULL


class ParquetSource:
    """The rows of a Parquet file, as `LineSource` has lines.

    Args:
        path: The file.
        form: Which column.
        window: Most rows of a window.

    Raises:
        ParquetError: when it can't be read, or has no such column of text.
        OSError: when it can't be opened.
    """

    def __init__(self, path: str | os.PathLike[str], form: ParquetRows, window: int) -> None:
        self.name, self.window, self._form = str(path), window, form
        self.size: int | None = Path(path).stat().st_size
        self._file = _opened(path)
        self.rows = int(self._file.metadata.num_rows)
        self._number = 0
        self._hash = hashlib.sha256()
        try:
            _check_text(self.name, self._file.schema_arrow, form.field)
        except ParquetError:
            self._file.close()
            raise
        self._values = self._read()

    def __enter__(self) -> ParquetSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._values.close()
        self._file.close()

    @property
    def sha256(self) -> str:
        """Of all rows read so far."""
        return self._hash.hexdigest()

    @property
    def position(self) -> int:
        """The share of the rows that have been read, in bytes of the file."""
        return (self.size or 0) * self._number // max(1, self.rows)

    def skip(self, lines: int) -> bool:
        """Passes over rows; whether there were as many."""
        return sum(1 for _ in islice(self._values, lines)) == lines

    def windows(self) -> Iterator[Window]:
        """What is left, read as it is asked for; a window depends on its first row alone."""
        while window := self._window():
            yield window

    def _window(self) -> Window | None:
        first, size, start = self._number + 1, 0, self.position
        records: list[Record] = []
        errors: dict[int, str] = {}
        while len(records) < self.window and size < WINDOW_BYTES:
            found = next(self._values, self)
            if found is self:
                break
            record = Record(None, None)
            if isinstance(found, bytes):
                size += len(found)
                try:
                    record = self._record(found)
                except BadLineError as error:
                    errors[len(records)] = str(error)
            records.append(record)
        if not records:
            return None
        return Window(first, records, errors, self.sha256, start, self.position)

    def _record(self, text: bytes) -> Record:
        if len(text) > LONGEST_LINE:
            raise BadLineError(TOO_LONG)
        return self._form.parse(self._number, text)

    def _read(self) -> Any:
        """The bytes of each row's text, None of a null; a generator."""
        for batch in _batches(self.name, self._file, [self._form.field]):
            binary = _pyarrow().large_binary()
            column = batch.column(0)
            if _pyarrow().types.is_dictionary(column.type):
                column = column.dictionary_decode()
            for text in column.cast(_pyarrow().large_string()).cast(binary).to_pylist():
                self._number += 1
                length = b"-" if text is None else str(len(text)).encode()
                self._hash.update(length + b":" + (text or b""))
                yield text


class ParquetOutput:
    """A Parquet file that is there as a whole or not at all; its rows are journaled until then.

    Args:
        path: Where it is to be.
        source: The file whose columns it has.
        form: Which columns are made.
    """

    def __init__(self, path: Path, source: str | os.PathLike[str], form: ParquetRows) -> None:
        self.path, self._source, self._form = path, source, form
        self.lines = JournaledOutput(path.with_name(path.name + ".rows"))

    @property
    def progress(self) -> Progress:
        return self.lines.progress

    @property
    def safe_lines(self) -> int:
        """Rows that the journal counts."""
        return self.lines.safe_lines

    def append(self, content: bytes, **progress: Any) -> None:
        """See `JournaledOutput`."""
        self.lines.append(content, **progress)

    def finish(self) -> None:
        """Joins the rows with the columns of the input; killed at it, it is done again."""
        draft = self.path.with_name(self.path.name + ".draft")
        try:
            # Nobody else is at it, since the rows are locked; but it may be a link.
            draft.unlink(missing_ok=True)
            self._join(draft)
            with open(draft, "rb") as file:
                os.fsync(file.fileno())
            os.replace(draft, self.path)
        finally:
            draft.unlink(missing_ok=True)
        self.lines.finish()
        self.lines.path.unlink(missing_ok=True)

    def close(self) -> None:
        self.lines.close()

    def _join(self, draft: Path) -> None:
        pyarrow = _pyarrow()
        with (
            contextlib.closing(_opened(self._source)) as file,
            open(self.lines.partial, "rb") as lines,
        ):
            schema = file.schema_arrow
            replaced = self._form.output_field in schema.names
            kinds = {
                self._form.output_field: pyarrow.string(),
                **{
                    name: pyarrow.bool_()
                    for name in Marks._fields
                    # A column of that name is the input's own unless it is of a translation too.
                    if name not in schema.names
                    or (replaced and schema.field(name).type == pyarrow.bool_())
                },
            }
            for name, kind in kinds.items():
                schema = _with_field(schema, pyarrow.field(name, kind))
            with _parquet().ParquetWriter(draft, schema) as writer:
                for batch in _batches(str(self._source), file, None):
                    made = self._made(lines, batch.num_rows, kinds)
                    columns = {name: batch.column(name) for name in batch.schema.names} | made
                    table = pyarrow.Table.from_arrays(
                        [columns[name] for name in schema.names], schema=schema
                    )
                    writer.write_table(table)
            if lines.readline():
                raise self._changed()

    def _made(self, lines: Any, rows: int, kinds: dict[str, Any]) -> dict[str, Any]:
        """The new columns of so many rows."""
        found: list[list[Any]] = []
        for _ in range(rows):
            line = lines.readline()
            if not line.endswith(b"\n"):
                raise self._changed()
            line = line.removesuffix(b"\n")
            found.append(["", True, False] if line == _UNREAD else json.loads(line) or [None] * 3)
        names = (self._form.output_field, *Marks._fields)
        return {
            name: _pyarrow().array([_storable(row[at]) for row in found], kinds[name])
            for at, name in enumerate(names)
            if name in kinds
        }

    def _changed(self) -> ResumeError:
        return ResumeError(
            f"{self._source} has changed: it has not as many rows as were translated; --force "
            "begins anew."
        )


def open_parquet_output(
    path: str | os.PathLike[str],
    source: str | os.PathLike[str],
    form: ParquetRows,
    describe: Callable[[], dict[str, Any]],
    on_error: str,
    *,
    force: bool = False,
    resume: bool = False,
) -> ParquetOutput | None:
    """`open_output` of a Parquet file; None when it is finished already."""
    if Path(path).exists() and not Path(path).is_file():
        raise TextFileError(f"{str(path)!r} is no file, and Parquet is written to one.")
    check_writable_file(path, force or resume)
    output = ParquetOutput(Path(path), source, form)
    try:
        if resume and output.lines.read() is not None:
            output.lines.resume(describe(), on_error)
        elif resume and output.path.exists() and not output.lines.is_begun:
            return None
        else:
            output.lines.start(describe(), on_error, force)
    except BaseException:
        output.close()
        raise
    return output


def count_rows(path: str | os.PathLike[str]) -> int:
    """Rows of a Parquet file."""
    with contextlib.closing(_opened(path)) as file:
        return int(file.metadata.num_rows)


def _pyarrow() -> Any:
    try:
        import pyarrow

        return pyarrow
    except ImportError as error:
        raise ParquetError(
            f"Parquet needs pyarrow ({error}): pip install keras-int8nmt[parquet]"
        ) from error


def _parquet() -> Any:
    from pyarrow import parquet

    return parquet


def _opened(path: str | os.PathLike[str]) -> Any:
    """A `pyarrow.parquet.ParquetFile`."""
    pyarrow = _pyarrow()
    if not Path(path).is_file():
        # What pyarrow says of a folder is of its insides.
        with open(path, "rb"):
            pass
        raise ParquetError(f"{str(path)!r} is no regular file.")
    try:
        return _parquet().ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ParquetError(f"{str(path)!r} is no Parquet file: {_one_line(error)}") from error


def _batches(name: str, file: Any, columns: list[str] | None) -> Iterator[Any]:
    """The record batches of a file."""
    try:
        yield from file.iter_batches(batch_size=_ROWS, columns=columns)
    except (_pyarrow().ArrowException, OSError) as error:
        raise ParquetError(f"{name!r} is damaged: {_one_line(error)}") from error


def _check_text(name: str, schema: Any, column: str) -> None:
    types = _pyarrow().types
    there = ", ".join(map(repr, schema.names))
    if len(set(schema.names)) < len(schema.names):
        raise ParquetError(f"{name!r} has two columns of one name: {there}.")
    if column not in schema.names:
        raise ParquetError(f"{name!r} has no column {column!r}; there are {there}.")
    kind = schema.field(column).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(kind) or types.is_large_string(kind)):
        raise ParquetError(f"The column {column!r} of {name!r} is {kind}, and no text.")


def _with_field(schema: Any, field: Any) -> Any:
    """A schema with a field more, or another one in the place of that of its name."""
    at = schema.get_field_index(field.name)
    return schema.append(field) if at < 0 else schema.set(at, field)


def _storable(value: Any) -> Any:
    """A text without halves of surrogate pairs, which Arrow can't store."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
