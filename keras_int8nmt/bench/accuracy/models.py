"""The models of the benchmark, by name or by folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.accuracy.corpora import (
    CORPORA,
    DEFAULT_CORPUS,
    Corpus,
    CorpusFiles,
    find_corpus,
)
from keras_int8nmt.bench.accuracy.hard import DEFAULT_FACTOR, DEFAULT_SHARE, make_hard
from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.storage import builtin as builtin_model
from keras_int8nmt.storage.card import fingerprint
from keras_int8nmt.storage.model_folder import open_model
from keras_int8nmt.tokenizers.marian import MarianTokenizer


@dataclass(frozen=True)
class BenchModel:
    """A float model that recipes start from.

    Attributes:
        name: In the table.
        load: Gives it anew, with observers.
        tokenizer: Its tokenizer.
        corpus: Its sentences.
        identity: Tells it from others; results count for an equal one only.
    """

    name: str
    load: Callable[[], Any]
    tokenizer: Any
    corpus: Corpus
    identity: str


Loader = Callable[[str | None], BenchModel]


def load_builtin(corpus: str | None = None) -> BenchModel:
    """The built-in model; its corpus is the package's own where there is no other."""
    if corpus is None:
        large = CORPORA[DEFAULT_CORPUS]
        assert isinstance(large, CorpusFiles)
        corpus = DEFAULT_CORPUS if large.is_there() else "package"
    return BenchModel(
        name="builtin",
        load=builtin_model.load_builtin,
        tokenizer=MarianTokenizer(builtin_model.FOLDER),
        corpus=find_corpus(corpus),
        identity=fingerprint(builtin_model.FOLDER),
    )


def load_hard(corpus: str | None = None) -> BenchModel:
    """The built-in model with outlier channels, the same in float; see `make_hard`."""
    plain = load_builtin(corpus)
    how = f"outliers {DEFAULT_SHARE} {DEFAULT_FACTOR}"
    return replace(
        plain,
        name="hard",
        load=lambda: make_hard(builtin_model.load_builtin()),
        identity=f"{plain.identity}, {how}",
    )


# Models that have a name; the argument is that of a corpus, None for the model's own.
MODELS: dict[str, Loader] = {"builtin": load_builtin, "hard": load_hard}


def find_model(text: str, models: Mapping[str, Loader] = MODELS) -> BenchModel:
    """The model that the command line names.

    Args:
        text: `NAME` or `FOLDER`, and `@CORPUS` after it where that is not the default.
        models: Models that have a name.

    Raises:
        BenchError: when the folder's model can't be calibrated or has no tokenizer, or the corpus
            is missing.
        ModelFolderError: when there is no such folder, or it is damaged.
    """
    place, _, corpus = text.partition("@")
    if place in models:
        return models[place](corpus or None)
    identity = fingerprint(place)
    model, tokenizer, _ = open_model(place)
    if tokenizer is None:
        raise BenchError(f"{place} has no tokenizer.")
    if not getattr(model, "quant", False):
        raise BenchError(f"{place} is not a float model that can be calibrated.")
    return BenchModel(
        name=Path(place).resolve().name,
        load=lambda: open_model(place)[0],
        tokenizer=tokenizer,
        corpus=find_corpus(corpus or DEFAULT_CORPUS),
        identity=identity,
    )
