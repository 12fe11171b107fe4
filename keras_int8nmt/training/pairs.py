"""Sentence pairs as token ids, two or four bytes each, whatever the size of the corpus."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from keras_int8nmt._text import visible
from keras_int8nmt.tokenizers.protocol import Tokenizer, source_end, target_ids, text_test
from keras_int8nmt.training.errors import CorpusError

_NARROW, _WIDE = "H", "i"
_MOST_NARROW = (1 << 16) - 1


class PairCounts(NamedTuple):
    """What became of the pairs that were read.

    Attributes:
        read: All pairs.
        kept: Those that are trained on.
        empty: Left out: one of the sides has no text.
        too_long: Left out: one of the sides has more tokens than the longest allowed.
    """

    read: int
    kept: int
    empty: int
    too_long: int


@dataclass
class EncodedPairs:
    """Token ids of sentence pairs.

    Attributes:
        source, target: The ids of all sentences, one after the other, uint16 or int32, and where
            each sentence ends, int64 `[pairs]`.
        counts: What was kept and what was not.
        first_empty, first_too_long: Numbers of the first lines that were left out, 0 without any.
    """

    source: tuple[np.ndarray, np.ndarray]
    target: tuple[np.ndarray, np.ndarray]
    counts: PairCounts
    first_empty: int = 0
    first_too_long: int = 0

    def longest(self) -> np.ndarray:
        """The number of tokens of the longer side, int64 `[pairs]`."""
        lengths = [np.diff(ends, prepend=0) for _, ends in (self.source, self.target)]
        return np.maximum(*lengths)

    def largest(self, side: str) -> int:
        """The largest id of "source" or "target"."""
        return int(getattr(self, side)[0].max())

    @staticmethod
    def sentence(side: tuple[np.ndarray, np.ndarray], i: int) -> np.ndarray:
        """The ids of a sentence of `source` or `target`."""
        ids, ends = side
        return ids[ends[i - 1] if i else 0 : ends[i]]


@dataclass
class _Side:
    """Ids of one side, which grow."""

    ids: array[int] = field(default_factory=lambda: array(_NARROW))
    ends: array[int] = field(default_factory=lambda: array("q"))

    def append(self, ids: array[int]) -> None:
        if self.ids.typecode == _NARROW and max(ids) > _MOST_NARROW:
            self.ids = array(_WIDE, self.ids)
        self.ids.extend(ids if self.ids.typecode == _WIDE else array(_NARROW, ids))
        self.ends.append(len(self.ids))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        dtype = np.uint16 if self.ids.typecode == _NARROW else np.int32
        return np.frombuffer(self.ids, dtype), np.frombuffer(self.ends, np.int64)


def encode_pairs(
    lines: Iterable[tuple[int, str, str]],
    tokenizer: Tokenizer,
    max_length: int,
    names: tuple[str, str],
    progress: Callable[[int], Any],
) -> EncodedPairs:
    """Token ids of sentence pairs, without those that are empty or too long.

    Args:
        lines: `(number, sentence, translation)`.
        tokenizer: Turns both into ids; the end token is the last.
        max_length: Most tokens of a sentence, the end token among them.
        names: What messages call the two sides.
        progress: Told of each pair.

    Raises:
        CorpusError: naming the line whose ids are none or don't end with the end token, and where
            no pair is left.
    """
    has_text = text_test(tokenizer)
    eos_id = tokenizer.eos_id
    encoders = tokenizer.encode, lambda text: target_ids(tokenizer, text, eos_id)
    ends = source_end(tokenizer, eos_id), eos_id
    sides = _Side(), _Side()
    read = empty = too_long = first_empty = first_too_long = 0
    for number, source, target in lines:
        read += 1
        progress(1)
        if not has_text(source) or not visible(target):
            empty, first_empty = empty + 1, first_empty or number
            continue
        encoded = [
            _ids(encode, text, end, f"{name}, line {number}")
            for encode, text, end, name in zip(encoders, (source, target), ends, names, strict=True)
        ]
        if max(map(len, encoded)) > max_length:
            too_long, first_too_long = too_long + 1, first_too_long or number
            continue
        for side, ids in zip(sides, encoded, strict=True):
            side.append(ids)
    counts = PairCounts(read, len(sides[0].ends), empty, too_long)
    if not counts.kept:
        left_out = f": {empty} are empty, {too_long} longer than {max_length} tokens" * (read > 0)
        raise CorpusError(
            f"There is no pair to train on in {names[0]} and {names[1]}, of {read}{left_out}."
        )
    return EncodedPairs(sides[0].arrays(), sides[1].arrays(), counts, first_empty, first_too_long)


def _ids(
    encode: Callable[[str], Sequence[int]], text: str, end: int | None, place: str
) -> array[int]:
    try:
        ids = array(_WIDE, encode(text))
    except (TypeError, ValueError, OverflowError) as error:
        raise CorpusError(f"{place}: the tokenizer does not give ids: {error}") from error
    if not ids or min(ids) < 0 or (end is not None and ids[-1] != end):
        last = "" if end is None else f" of which the last is `eos_id`, {end}"
        raise CorpusError(
            f"{place}: the tokenizer must give ids{last}; it gives {ids.tolist()!r:.80}."
        )
    return ids
