"""Real sentences: a test set beside the repository where there is one, else the package's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from keras_int8nmt.files.lines import read_lines
from keras_int8nmt.storage import builtin as builtin_model

VARIABLE = "KERAS_INT8NMT_SHARED"


class Corpus(NamedTuple):
    """Sentences, their translations (none where none are needed), and where they come from."""

    sources: list[str]
    references: list[str]
    origin: str


def shared_folder() -> Path:
    """Where corpora are looked for: `KERAS_INT8NMT_SHARED`, else `../shared/data`."""
    return Path(os.environ.get(VARIABLE) or Path("..") / "shared" / "data")


def read_tatoeba() -> Corpus:
    """English-German test sentences; the origin tells why it is the smaller set, if it is."""
    folder = shared_folder() / "tatoeba-ende"
    files = folder / "test.en", folder / "test.de"
    if all(path.is_file() for path in files):
        return Corpus(read_lines(files[0]), read_lines(files[1]), "tatoeba-ende/test")
    _, pairs = builtin_model.read_pairs()
    missing = f"the package's own sentence pairs: no tatoeba-ende/test; {VARIABLE} names its folder"
    return Corpus([s for s, _ in pairs], [t for _, t in pairs], missing)


def read_news() -> Corpus:
    """Longer English sentences, of newstest2014, without translations."""
    path = shared_folder() / "wmt" / "newstest2014.en"
    if path.is_file():
        return Corpus(read_lines(path), [], "newstest2014")
    sources, _, _ = read_tatoeba()
    missing = f"tatoeba: no wmt/newstest2014.en; {VARIABLE} names its folder"
    return Corpus(sources, [], missing)
