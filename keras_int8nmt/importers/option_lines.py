"""Marian's settings, `special:model.yml` and `decoder.yml`: the little of YAML that they are.

One mapping, a line an option; a value is a text, or a list of such in lines of its own. What else
YAML knows is not read, and what looks like a number or a flag stays text until somebody asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from keras_int8nmt.importers.weights_file import short
from keras_int8nmt.tokenizers.vocab_yml import yaml_text

_OPTION = re.compile(r"([A-Za-z][\w-]{0,100}):(?:[ \t]+(.*))?")
_WHOLE = re.compile(r"-?\d{1,15}")
_NUMBER = re.compile(r"-?(\d{1,15}(\.\d{0,20})?|\.\d{1,20})([eE][+-]?\d{1,3})?")
_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "y"), True),
    **dict.fromkeys(("false", "no", "off", "n"), False),
}
_NOTHING = ("", "~", "null", "[]")


class OptionLines:
    """The options of one file.

    Args:
        content: What it holds.
        place: What messages call it.
        error: Raised for what is none, and for an option that is not what it must be.
    """

    def __init__(self, content: bytes, place: str, error: type[Exception]) -> None:
        self.place, self._error = place, error
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as cause:
            raise error(f"{place} is no UTF-8 text: {cause}.") from cause
        self._values: dict[str, list[str]] = {}
        # Whether they were a list.
        self._lists: set[str] = set()
        self._read(text)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def text(self, name: str, default: str | None = None) -> str:
        """The value of an option; `default` where there is none, unless that is None."""
        if name not in self._values:
            if default is None:
                raise self._error(f"{self.place} has no option {name}.")
            return default
        values = self._values[name]
        if name in self._lists and len(values) != 1:
            raise self.refused(name, "must have one value")
        return values[0] if values else ""

    def whole(self, name: str, default: int | None = None, least: int = 0) -> int:
        """Likewise a whole number."""
        value = self.text(name, None if default is None else str(default))
        if not _WHOLE.fullmatch(value) or int(value) < least:
            raise self.refused(name, f"must be a whole number of at least {least}")
        return int(value)

    def number(self, name: str, default: float | None = None) -> float:
        """Likewise any number."""
        value = self.text(name, None if default is None else repr(default))
        if not _NUMBER.fullmatch(value):
            raise self.refused(name, "must be a number")
        return float(value)

    def flag(self, name: str, default: bool | None = None) -> bool:
        """Likewise true or false."""
        value = self.text(name, None if default is None else str(default)).lower()
        if value not in _FLAGS:
            raise self.refused(name, "must be true or false")
        return _FLAGS[value]

    def items(self, name: str) -> list[str]:
        """The values of an option that is a list; [] where there is none, and of nothing."""
        return [each for each in self._values.get(name, []) if each not in _NOTHING]

    def refused(self, name: str, why: str) -> Exception:
        """An error, to be raised, that names an option with its value."""
        told = self._values.get(name, ["nothing"])
        value = told[0] if len(told) == 1 else ", ".join(told)
        return self._error(f"{self.place} has {name}: {short(value)}, which {why}.")

    def _read(self, text: str) -> None:
        name = None
        for number, line in enumerate(text.split("\n"), start=1):
            line = line.rstrip("\r \t")
            inner = line.lstrip(" ")
            if not inner or inner.startswith("#") or line in ("---", "..."):
                continue
            try:
                if found := _OPTION.fullmatch(line):
                    name = found.group(1)
                    if name in self._values:
                        raise ValueError(f"there is a second {name}")
                    value = _uncommented(found.group(2) or "")
                    self._values[name] = []
                    if value:
                        self._add(name, value)
                elif name is not None and (line != inner or inner.startswith("- ")):
                    if inner.startswith("- "):
                        self._lists.add(name)
                        inner = inner[2:]
                    self._add(name, _uncommented(inner))
                else:
                    raise ValueError("it is no `option: value`")
            except ValueError as cause:
                raise self._error(
                    f"{self.place}, line {number}, {short(line)}: {cause}."
                ) from cause

    def _add(self, name: str, value: str) -> None:
        values = self._values[name]
        if value.startswith("[") and value.endswith("]"):
            self._lists.add(name)
            inner = value[1:-1].strip(" ")
            values += [yaml_text(each) for each in inner.split(",")] if inner else []
        else:
            values.append(yaml_text(value))


def _uncommented(value: str) -> str:
    """A value without the comment that follows it; "#" in a quotation is none."""
    if value.startswith(('"', "'")):
        return value
    return value.partition(" #")[0].rstrip(" ")
