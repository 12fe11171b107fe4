"""Sentences of a benchmark: for calibration, for choosing, and for the one score at the end.

Each part is read when it is asked for and not before: who only chooses never opens the test set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.bench.translation.sentences import VARIABLE, shared_folder
from keras_int8nmt.files.lines import read_lines
from keras_int8nmt.storage import builtin as builtin_model

T = TypeVar("T")


class Pairs(NamedTuple):
    """Sentences, their translations, and where they come from."""

    sources: list[str]
    references: list[str]
    origin: str

    def identity(self) -> dict[str, str | int]:
        """Tells one set of sentences from another."""
        content = json.dumps([self.sources, self.references]).encode()
        digest = hashlib.sha256(content).hexdigest()[:16]
        return {"origin": self.origin, "sentences": len(self.sources), "sha256": digest}


class Corpus(Protocol):
    """Three parts that share no sentence."""

    def calibration(self, most: int) -> Pairs:
        """Sentences to calibrate on, without translations."""

    def valid(self, most: int | None) -> Pairs:
        """What is chosen on."""

    def test(self, most: int | None) -> Pairs:
        """What is scored once, when everything is chosen."""


@dataclass(frozen=True)
class CorpusFiles:
    """A corpus in a folder beside the repository: a file a part and language.

    Attributes:
        folder: Below the folder of corpora.
        source, target: Languages, the files' extensions.
        parts: Names of the training, validation and test files.
    """

    folder: str
    source: str
    target: str
    parts: tuple[str, str, str] = ("train", "valid", "test")

    def calibration(self, most: int) -> Pairs:
        # Of the training set: the sentences of the others stay unseen.
        origin, sources = self._lines(self.parts[0], self.source)
        return _thinned(Pairs(sources, [], origin), most)

    def valid(self, most: int | None) -> Pairs:
        return self._pairs(self.parts[1], most)

    def test(self, most: int | None) -> Pairs:
        return self._pairs(self.parts[2], most)

    def is_there(self) -> bool:
        """Whether all its files are there; looks into none."""
        train, valid, test = self.parts
        names = [f"{part}.{ext}" for part in (valid, test) for ext in (self.source, self.target)]
        folder = shared_folder() / self.folder
        return all((folder / name).is_file() for name in [f"{train}.{self.source}", *names])

    def _pairs(self, part: str, most: int | None) -> Pairs:
        origin, sources = self._lines(part, self.source)
        _, references = self._lines(part, self.target)
        if len(sources) != len(references):
            raise BenchError(
                f"{origin}.{self.source} has {len(sources)} lines and {origin}.{self.target} "
                f"{len(references)}; they must have as many."
            )
        return _thinned(Pairs(sources, references, origin), most)

    def _lines(self, part: str, language: str) -> tuple[str, list[str]]:
        path = shared_folder() / self.folder / f"{part}.{language}"
        return f"{self.folder}/{part}", read_lines(path)


class PackagePairs:
    """The sentence pairs inside the package, English to German: few, but always there."""

    def calibration(self, most: int) -> Pairs:
        pairs, _ = builtin_model.read_pairs()
        return _thinned(Pairs([s for s, _ in pairs], [], "the package's calibration pairs"), most)

    def valid(self, most: int | None) -> Pairs:
        return self._half(0, most)

    def test(self, most: int | None) -> Pairs:
        return self._half(1, most)

    def _half(self, first: int, most: int | None) -> Pairs:
        _, pairs = builtin_model.read_pairs()
        name = ("even", "odd")[first]
        half = pairs[first::2]
        origin = f"the package's {name} sentence pairs"
        return _thinned(Pairs([s for s, _ in half], [t for _, t in half], origin), most)


CORPORA: dict[str, Corpus] = {
    "tatoeba-ende": CorpusFiles("tatoeba-ende", "en", "de"),
    "tatoeba-enfr": CorpusFiles("tatoeba-enfr", "en", "fr"),
    "multi30k-ende": CorpusFiles("multi30k", "en", "de", ("train", "val", "test2016")),
    "multi30k-enfr": CorpusFiles("multi30k", "en", "fr", ("train", "val", "test2016")),
    "package": PackagePairs(),
}
DEFAULT_CORPUS = "tatoeba-ende"


def find_corpus(name: str) -> Corpus:
    """The corpus of that name.

    Raises:
        BenchError: when there is none, or its files are missing.
    """
    if name not in CORPORA:
        raise BenchError(f"There is no corpus {name!r}; choose of {', '.join(CORPORA)}.")
    corpus = CORPORA[name]
    if isinstance(corpus, CorpusFiles) and not corpus.is_there():
        raise BenchError(
            f"The corpus {name} is not complete in {str(shared_folder() / corpus.folder)!r}; "
            f"{VARIABLE} names the folder of all corpora. The corpus 'package' is always there."
        )
    return corpus


def evenly(items: Sequence[T], most: int | None) -> list[T]:
    """At most `most` of `items`, taken at even distances: a sorted file gives all its lengths."""
    n = len(items)
    if most is None or n <= most:
        return list(items)
    return [items[(2 * i + 1) * n // (2 * most)] for i in range(most)]


def _thinned(pairs: Pairs, most: int | None) -> Pairs:
    return Pairs(evenly(pairs.sources, most), evenly(pairs.references, most), pairs.origin)
