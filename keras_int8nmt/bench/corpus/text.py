"""Many lines out of fewer: the corpora at hand, repeated with other names and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count, islice

from keras_int8nmt.bench.translation.sentences import VARIABLE, read_tatoeba, shared_folder
from keras_int8nmt.files.lines import read_lines

_FILES = ("tatoeba-ende/train.en", "tatoeba-enfr/train.en", "multi30k/train.en")
_NAMES = (
    "Tom", "Mary", "John", "Alice", "Ken", "Jane", "Bob", "Emily", "Bill", "Lucy", "Mike", "Nancy",
    "Boston", "London", "Paris", "Tokyo", "Berlin", "Rome", "Madrid", "Vienna",
)  # fmt: skip
_PEOPLE = 12
_CHANGED = re.compile(rf"\b(?:{'|'.join(_NAMES)})\b|[0-9]+")


def read_sentences() -> tuple[list[str], str]:
    """The corpora at hand, and what they are."""
    files = [shared_folder() / name for name in _FILES]
    found = [path for path in files if path.is_file()]
    if found:
        names = ", ".join(f"{path.parent.name}/{path.stem}" for path in found)
        return [line for path in found for line in read_lines(path)], names
    sources, _, origin = read_tatoeba()
    return sources, f"{origin} (none of {', '.join(_FILES)} in the folder that {VARIABLE} names)"


def varied(sentences: Sequence[str], lines: int) -> Iterator[str]:
    """`lines` lines: the sentences, and again with other names and numbers each time."""
    return islice((swapped(text, turn) for turn in count() for text in sentences), lines)


def swapped(text: str, turn: int) -> str:
    """`text` with names of people, cities and numbers moved on by `turn`; itself at turn 0."""

    def other(match: re.Match[str]) -> str:
        word = match.group()
        if word.isdigit():
            return str((int(word) + 7 * turn) % 10 ** len(word))
        i = _NAMES.index(word)
        if i < _PEOPLE:
            return _NAMES[(i + turn) % _PEOPLE]
        return _NAMES[_PEOPLE + (i - _PEOPLE + turn) % (len(_NAMES) - _PEOPLE)]

    return _CHANGED.sub(other, text)
