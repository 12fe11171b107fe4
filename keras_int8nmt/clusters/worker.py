"""What runs on a node: one translator, so one copy of the weights, and a stream on each core."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from keras_int8nmt.clusters.answers import PackedOutcomes
from keras_int8nmt.runtime.cores import usable_cores
from keras_int8nmt.storage.card import fingerprint
from keras_int8nmt.storage.folders import ModelFolderError
from keras_int8nmt.translation.careful import begin_lines
from keras_int8nmt.translation.translator import Translator, load_translator


class Piece(NamedTuple):
    """Lines that are translated together.

    Attributes:
        name: Of the file they are of.
        first: Number of the first, counted from 1.
        lines: Their texts; None where there is nothing to translate.
    """

    name: str
    first: int
    lines: list[str | None]


class Answer(NamedTuple):
    """What became of the texts of a piece, and what is to be told of them."""

    packed: PackedOutcomes
    warnings: list[str]


class NodeTranslator:
    """The actor of a node; its methods are called by several threads at once."""

    def __init__(self) -> None:
        self._translator: Translator | None = None
        self._beginning = threading.Lock()

    def load(self, model: str, expected: str, cores: int, options: Mapping[str, Any]) -> int:
        """Opens the model.

        Args:
            model: Its folder, by a path that is the same on every node.
            expected: The `fingerprint` of the driver's.
            cores: Most streams.
            options: Of `load_translator`.

        Returns:
            The streams.

        Raises:
            ModelFolderError: when there is none, or another one.
        """
        if fingerprint(model) != expected:
            raise ModelFolderError(f"{model!r} holds another model there than here.")
        options = dict(options)
        if not isinstance(options.get("streams", "auto"), int):
            options["streams"] = max(1, min(cores, usable_cores()))
        self._translator = load_translator(model, **options)
        return int(self._translator.streams)

    def translate(self, piece: Piece) -> Answer:
        """Translates a piece; while its last sentences end, those of the next are begun."""
        assert self._translator is not None
        # Python's warnings can be caught by one thread at a time.
        with self._beginning, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            careful = begin_lines(self._translator, *piece)
        told = [str(each.message) for each in caught]
        return Answer(PackedOutcomes.of(careful.results()), told)
