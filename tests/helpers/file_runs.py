"""Runs over files with a translator without a model: upper case, one token a word."""

from __future__ import annotations

from contextlib import closing

import pytest

from keras_int8nmt.files.compression import CompressedFileError, open_input, packer
from keras_int8nmt.files.output import open_output
from keras_int8nmt.files.records import make_format
from keras_int8nmt.files.source import LineSource
from keras_int8nmt.translation.files import find_place, translate_lines
from keras_int8nmt.translation.results import Hypothesis, Translation

TEXTS = [f"sentence number {i}, grün" for i in range(23)]


class FakeTranslator:
    """Turns text into upper case; fails on a sentence with the word BROKEN.

    Args:
        before: Called with the texts of each window before they are translated.
    """

    errors = (RuntimeError,)

    def __init__(self, before=None):
        self.before = before

    def begin(self, texts, name=None):
        return FakeTranslations(self, list(texts))

    def translate(self, texts, progress=None):
        return self.begin(texts).results(progress)


class FakeTranslations:
    """What `FakeTranslator.begin` gives."""

    def __init__(self, translator, texts):
        self.translator, self.texts = translator, texts

    def results(self, progress=None):
        if self.translator.before is not None:
            self.translator.before(self.texts)
        if any("BROKEN" in text for text in self.texts):
            raise RuntimeError("The decoder: NaN.")
        if progress is not None:
            progress(len(self.texts))
        return [
            Translation([Hypothesis(text.upper(), [1] * len(text.split()), 0.0)])
            for text in self.texts
        ]

    def cancel(self):
        pass


def translate(source, target, form=None, *, window=4, run=None, translator=None, **options):
    """One run; returns what it did."""
    form = form or make_format("text", None, None)
    on_error = options.pop("on_error", "stop")
    with LineSource(source, form, window) as lines:
        sink = open_output(target, lambda: run or {"run": 1}, on_error, **options)
        assert sink is not None
        with closing(sink):
            find_place(lines, sink)
            return translate_lines(
                translator or FakeTranslator(), lines, sink, form, path=target, on_error=on_error
            )


def packed(path, content):
    """Writes `content`, packed as the suffix says."""
    path.write_bytes(packer(path)(content))
    return path


def unpacked(path):
    content, _ = open_input(path)
    with content:
        return content.read()


def _suffixes():
    for suffix in ("", ".gz", ".zst"):
        try:
            packer("x" + suffix)
        except CompressedFileError as error:
            yield pytest.param(suffix, marks=pytest.mark.skip(reason=str(error)))
        else:
            yield suffix


# Those that can be packed here.
SUFFIXES = list(_suffixes())
