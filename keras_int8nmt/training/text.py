"""Sentences of files or of memory, one side or two in step."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from keras_int8nmt.files.lines import TextFileError
from keras_int8nmt.files.records import TextLines
from keras_int8nmt.files.source import LineSource

# A file, or sentences that are there already.
Text = str | os.PathLike[str] | Iterable[str]


def name_of(text: Text, otherwise: str) -> str:
    """What messages call it: the path of a file, `otherwise` of sentences in memory."""
    return str(text) if isinstance(text, (str, os.PathLike)) else otherwise


def read_sentences(text: Text, name: str) -> Iterator[str]:
    """The lines of a file (.gz and .zst are unpacked), or the sentences of an iterable.

    A file is read as it is asked for, so it may be larger than memory.

    Raises:
        TextFileError: naming the first line that is no text in UTF-8, or the encoding of a file
            that is UTF-16 or UTF-32.
        CompressedFileError: naming a packed file that is damaged.
        OSError: when a file can't be read.
        TypeError: naming a sentence that is no string.
    """
    if not isinstance(text, (str, os.PathLike)):
        for number, sentence in enumerate(text, 1):
            if not isinstance(sentence, str):
                raise TypeError(
                    f"Sentences must be strings; number {number} of {name} is {sentence!r:.80}."
                )
            yield sentence
        return
    with LineSource(text, TextLines()) as source:
        for window in source.windows():
            for at, message in window.errors.items():
                raise TextFileError(f"{name}, line {window.first + at}: {message}")
            for record in window.records:
                assert record.text is not None, "whatever is no error of a line is text"
                yield record.text


def read_in_step(
    source: Text, target: Text, names: tuple[str, str]
) -> Iterator[tuple[int, str, str]]:
    """`(number, sentence, translation)`, counted from 1.

    Raises:
        TextFileError: at the end of the shorter one, naming both counts.
        TextFileError, CompressedFileError, OSError, TypeError: See `read_sentences`.
    """
    sources, targets = read_sentences(source, names[0]), read_sentences(target, names[1])
    count = 0
    for count, sentence in enumerate(sources, 1):
        translation = next(targets, None)
        if translation is None:
            rest = sum(1 for _ in sources)
            raise _unequal(names, count + rest, count - 1)
        yield count, sentence, translation
    rest = sum(1 for _ in targets)
    if rest:
        raise _unequal(names, count, count + rest)


def _unequal(names: tuple[str, str], sources: int, targets: int) -> TextFileError:
    return TextFileError(
        f"{names[0]} has {sources} lines and {names[1]} {targets}; they must have as many."
    )
