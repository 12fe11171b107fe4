"""What a line of a file is: text, a JSON object, or a row of columns."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, NoReturn, Protocol

from keras_int8nmt.files.lines import BadLineError, decode_line

FORMATS = ("text", "jsonl", "tsv")
OUTPUT_FIELD = "translation"


class Marks(NamedTuple):
    """What else is to be said of a translation; see `Translation`."""

    finished: bool = True
    source_cut: bool = False


_FINE = Marks()


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

    def with_translation(self, record: Record, translation: str, marks: Marks = _FINE) -> bytes:
        """The line with its translation, and where the format can tell them with the marks."""

    def without(self, record: Record) -> bytes:
        """The line where there is nothing to translate."""


def make_format(name: str, field: str | None, output_field: str | None) -> LineFormat:
    """The format of a name in `FORMATS`.

    Args:
        name: "text", "jsonl" or "tsv".
        field: What to translate: in jsonl a name, "text" by default, of an entry of an object in it
            "OUTER.INNER"; in tsv a column, counted from 1, or its name in the first line, which is
            then a header; by default column 1.
        output_field: Where the translation goes: in jsonl this entry, in tsv the header of a last
            column; "translation" by default, which is put beside what is translated where it is a
            part of an entry of that name.

    Raises:
        ValueError: when the format has no such thing.
    """
    if name == "text":
        if field is not None or output_field is not None:
            raise ValueError("Lines of text have no fields; --field is for jsonl and tsv.")
        return TextLines()
    if name == "jsonl":
        return JsonLines(field or "text", output_field)
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
        return Record(decode_line(line), None)

    def with_translation(self, record: Record, translation: str, marks: Marks = _FINE) -> bytes:
        return one_line(translation).encode("utf-8")

    def without(self, record: Record) -> bytes:
        return b""


class _Edit(NamedTuple):
    """What is put between two places of a line: `before`, a value, `after`."""

    begin: int
    end: int
    before: str = ""
    after: str = ""


class _JsonObject(NamedTuple):
    """A line of JSON: where its translation goes, and each mark; None: it has no place."""

    line: str
    translation: _Edit
    marks: list[_Edit | None]


class JsonLines:
    """One JSON object a line; the translation is an entry of it, added or replaced.

    A translation that ran into the length limit also has an entry `finished`, false, and one of a
    source that was cut `source_cut`, true. All else on the line stays to the letter: read as
    Python's values and written again, numbers would lose digits, or become `Infinity`, which is no
    JSON.
    """

    def __init__(self, field: str, output_field: str | None) -> None:
        self.field, self.output_field = field, output_field

    def parse(self, number: int, line: bytes) -> Record:
        text = decode_line(line)
        if not text.strip():
            return Record(None, line)
        try:
            entries = _JSON.decode(text)
        except (ValueError, RecursionError) as error:
            raise BadLineError(f"not JSON ({error})") from error
        if not isinstance(entries, dict):
            raise BadLineError("not a JSON object")
        names = _find(entries, self.field)
        if names is None:
            raise BadLineError(f"no field {self.field!r}")
        source = _entry(entries, names)
        if not isinstance(source, str):
            raise BadLineError(f"the field {self.field!r} is not text")
        if "\0" in source:
            raise BadLineError(f"a NUL in the field {self.field!r}, which is no text")
        wanted, found = self._output(entries, names)
        place = _replacing(text, found) if found else _adding(text, entries, wanted)
        marks = [self._mark(text, entries, name, wanted, found) for name in Marks._fields]
        return Record(source, _JsonObject(text, place, marks))

    def _mark(
        self,
        text: str,
        entries: dict[str, Any],
        name: str,
        wanted: tuple[str, ...],
        found: tuple[str, ...] | None,
    ) -> _Edit | None:
        """Where a mark goes."""
        if name == wanted[0]:
            return None
        if name not in entries:
            return _adding(text, entries, (name,))
        # Of an earlier translation, which is replaced as well; otherwise it is the line's own.
        return _replacing(text, (name,)) if found and isinstance(entries[name], bool) else None

    def _output(
        self, entries: dict[str, Any], source: tuple[str, ...]
    ) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
        """Names from the outside in of where the translation goes, and of what is there by now."""
        name = self.output_field or OUTPUT_FIELD
        found = _find(entries, name)
        if self.output_field is None and found is not None and found == source[: len(found)]:
            # It would take the place of the source.
            beside = (*source[:-1], name)
            return beside, beside if name in _entry(entries, source[:-1]) else None
        return found or _to_make(entries, name), found

    def with_translation(self, record: Record, translation: str, marks: Marks = _FINE) -> bytes:
        line, place, places = record.rest
        edits = [(place, _quoted(translation))]
        for mark, default, edit in zip(marks, _FINE, places, strict=True):
            # An edit without words around it replaces a value.
            if edit is not None and (mark != default or not edit.before):
                edits.append((edit, json.dumps(mark).encode()))
        done, parts = 0, []
        for edit, value in sorted(edits, key=lambda one: one[0].begin):
            before, after = line[done : edit.begin] + edit.before, edit.after
            parts += [before.encode(), value, after.encode()]
            done = edit.end
        return b"".join([*parts, line[done:].encode()])

    def without(self, record: Record) -> bytes:
        return record.rest


class TabRows:
    """Columns between tabs, no quotes; the translation is a column after the last."""

    def __init__(self, column: int | None, name: str | None, header: str) -> None:
        self.column, self.name, self.header = column, name, header

    def parse(self, number: int, line: bytes) -> Record:
        text = decode_line(line)
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

    def with_translation(self, record: Record, translation: str, marks: Marks = _FINE) -> bytes:
        cell = one_line(translation).replace("\t", " ")
        return f"{record.rest}\t{cell}".encode()

    def without(self, record: Record) -> bytes:
        return record.rest


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value of JSON")


# Whole numbers as float, since int refuses very long ones; none of them is written.
_JSON = json.JSONDecoder(parse_int=float, parse_constant=_refuse_constant)
_BLANKS = " \t\n\r"
_SPACE = re.compile(f"[{_BLANKS}]*")


def _find(entries: dict[str, Any], name: str) -> tuple[str, ...] | None:
    """The names of an entry, from the outside in; "a.b" is one of that name, or `b` in `a`."""
    if name in entries:
        return (name,)
    for at in (i for i, char in enumerate(name) if char == "."):
        inner = entries.get(name[:at])
        if isinstance(inner, dict) and (rest := _find(inner, name[at + 1 :])):
            return (name[:at], *rest)
    return None


def _entry(entries: dict[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        entries = entries[name]
    return entries


def _to_make(entries: dict[str, Any], name: str) -> tuple[str, ...]:
    """The names of an entry that is not there: in the objects that are, as far as they go."""
    for at in (i for i, char in enumerate(name) if char == "."):
        outer = name[:at]
        if isinstance(entries.get(outer), dict):
            return (outer, *_to_make(entries[outer], name[at + 1 :]))
        if outer in entries:
            raise BadLineError(f"the field {outer!r} is no object, and {name!r} is to go into it")
    return tuple(name.split("."))


def _replacing(text: str, names: tuple[str, ...]) -> _Edit:
    return _Edit(*_place(text, names))


def _adding(text: str, entries: dict[str, Any], names: tuple[str, ...]) -> _Edit:
    """A new entry at the end of the innermost object that is there, in new ones as need be."""
    outer: tuple[str, ...] = ()
    while len(outer) < len(names) - 1 and isinstance(entries.get(names[len(outer)]), dict):
        entries = entries[names[len(outer)]]
        outer = names[: len(outer) + 1]
    _, end = _place(text, outer)
    last = len(text[: text.rindex("}", 0, end)].rstrip(_BLANKS))
    new = names[len(outer) :]
    opened = ": {".join(_quoted(name).decode() for name in new) + ": "
    return _Edit(last, last, (", " if entries else "") + opened, "}" * (len(new) - 1))


def _place(text: str, names: tuple[str, ...]) -> tuple[int, int]:
    """Where the value begins and ends that these names lead to from the object of the line."""
    begin, end = _after_space(text, 0), len(text)
    for name in names:
        begin, end = _value(text, begin, name)
    return begin, end


def _value(text: str, at: int, name: str) -> tuple[int, int]:
    """Where the value of this name is in the object at a place; the last one's, as it counts."""
    found = (0, 0)
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
