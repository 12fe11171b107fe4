"""What a line of a file is: text, a JSON object, or a row of columns."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, NoReturn, Protocol

from keras_int8nmt.errors import KerasInt8nmtError

FORMATS = ("text", "jsonl", "tsv")
OUTPUT_FIELD = "translation"


class BadLineError(KerasInt8nmtError, ValueError):
    """A line is not what its format says; the message goes on after file and number."""


class Record(NamedTuple):
    """A line that was read.

    Attributes:
        text: What to translate; None where nothing is, as in an empty line.
        rest: What `LineFormat.with_translation` needs besides.
    """

    text: str | None
    rest: Any


class LineFormat(Protocol):
    """How the lines of a file are read and written; no line end is in any of them."""

    def parse(self, number: int, line: bytes) -> Record:
        """The record of a line, counted from 1; of line 1 before any other.

        Raises:
            BadLineError: what is wrong with it.
        """

    def with_translation(self, record: Record, translation: str) -> bytes:
        """The line with its translation."""

    def without(self, record: Record) -> bytes:
        """The line where there is nothing to translate."""


def make_format(name: str, field: str | None, output_field: str | None) -> LineFormat:
    """The format of a name in `FORMATS`.

    Args:
        name: "text", "jsonl" or "tsv".
        field: What to translate: in jsonl a name, "text" by default; in tsv a column, counted from
            1, or its name in the first line, which is then a header; by default column 1.
        output_field: Where the translation goes: in jsonl this entry, in tsv the header of a last
            column; "translation" by default.

    Raises:
        ValueError: when the format has no such thing.
    """
    if name == "text":
        if field is not None or output_field is not None:
            raise ValueError("Lines of text have no fields; --field is for jsonl and tsv.")
        return TextLines()
    if name == "jsonl":
        return JsonLines(field or "text", output_field or OUTPUT_FIELD)
    if name != "tsv":
        raise ValueError(f"The format must be one of {', '.join(FORMATS)}; received {name!r}.")
    field = field or "1"
    if not field.isascii() or not field.isdigit():
        return TabRows(None, field, output_field or OUTPUT_FIELD)
    if output_field is not None:
        raise ValueError("--output-field names a column of a header, so --field must be a name.")
    if int(field) < 1:
        raise ValueError("Columns are counted from 1.")
    return TabRows(int(field) - 1, None, "")


class TextLines:
    """One sentence a line."""

    def parse(self, number: int, line: bytes) -> Record:
        return Record(_decoded(line), None)

    def with_translation(self, record: Record, translation: str) -> bytes:
        return one_line(translation).encode("utf-8")

    def without(self, record: Record) -> bytes:
        return b""


class _JsonObject(NamedTuple):
    """A line of JSON; its translation goes between `begin` and `end`, as a value or an entry."""

    line: str
    begin: int
    end: int
    is_there: bool


class JsonLines:
    """One JSON object a line; the translation is an entry of it, added or replaced.

    All else on the line stays to the letter: read as Python's values and written again, numbers
    would lose digits, or become `Infinity`, which is no JSON.
    """

    def __init__(self, field: str, output_field: str) -> None:
        self.field, self.output_field = field, output_field

    def parse(self, number: int, line: bytes) -> Record:
        text = _decoded(line)
        if not text.strip():
            return Record(None, line)
        try:
            entries = _JSON.decode(text)
        except (ValueError, RecursionError) as error:
            raise BadLineError(f"not JSON ({error})") from error
        if not isinstance(entries, dict):
            raise BadLineError("not a JSON object")
        if self.field not in entries:
            raise BadLineError(f"no field {self.field!r}")
        if not isinstance(entries[self.field], str):
            raise BadLineError(f"the field {self.field!r} is not text")
        is_there = self.output_field in entries
        end = len(text[: text.rindex("}")].rstrip())
        place = _value(text, self.output_field) if is_there else (end, end)
        return Record(entries[self.field], _JsonObject(text, *place, is_there))

    def with_translation(self, record: Record, translation: str) -> bytes:
        line, begin, end, is_there = record.rest
        entry = b"" if is_there else b", " + _quoted(self.output_field) + b": "
        value = _quoted(translation)
        return b"".join((line[:begin].encode(), entry, value, line[end:].encode()))

    def without(self, record: Record) -> bytes:
        return record.rest


class TabRows:
    """Columns between tabs, no quotes; the translation is a column after the last."""

    def __init__(self, column: int | None, name: str | None, header: str) -> None:
        self.column, self.name, self.header = column, name, header

    def parse(self, number: int, line: bytes) -> Record:
        text = _decoded(line)
        columns = text.split("\t")
        if self.name is not None and number == 1:
            if self.name not in columns:
                raise BadLineError(f"no column {self.name!r} in the header")
            self.column = columns.index(self.name)
            return Record(None, f"{text}\t{self.header}".encode())
        if len(columns) == 1 and not text.strip():
            # An empty line. A row of empty cells gets a column like any other.
            return Record(None, line)
        if self.column is None:
            raise BadLineError("there is no header that tells its columns")
        if self.column >= len(columns):
            raise BadLineError(f"{len(columns)} columns, and column {self.column + 1} is wanted")
        return Record(columns[self.column], text)

    def with_translation(self, record: Record, translation: str) -> bytes:
        cell = one_line(translation).replace("\t", " ")
        return f"{record.rest}\t{cell}".encode()

    def without(self, record: Record) -> bytes:
        return record.rest


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value of JSON")


# Whole numbers as float, since int refuses very long ones; none of them is written.
_JSON = json.JSONDecoder(parse_int=float, parse_constant=_refuse_constant)
_SPACE = re.compile(r"[ \t\n\r]*")


def _value(text: str, name: str) -> tuple[int, int]:
    """Where the value of this name begins and ends in an object; the last one's, as it counts."""
    found, at = (0, 0), text.index("{")
    while text[at] != "}":
        # Behind the brace or a comma.
        key, at = _JSON.raw_decode(text, _after_space(text, at + 1))
        # Behind the colon.
        begin = _after_space(text, _after_space(text, at) + 1)
        _, end = _JSON.raw_decode(text, begin)
        if key == name:
            found = begin, end
        at = _after_space(text, end)
    return found


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _quoted(text: str) -> bytes:
    try:
        return json.dumps(text, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON can write and UTF-8 can't.
        return json.dumps(text).encode("ascii")


def one_line(text: str) -> str:
    """A line of input is a line of output, whatever the model says."""
    return " ".join(text.splitlines())


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadLineError(
            f"not UTF-8 (byte 0x{line[error.start]:02x} at byte {error.start + 1} of the line)"
        ) from error
