"""`KerasHubTokenizer`: KerasHub's tokenizers, which are Keras layers, as a translator asks for one.

KerasHub is not imported: an object is known by its methods. What is saved of one runs without it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.hugging_face import HuggingFaceTokenizer, bytes_bpe
from keras_int8nmt.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from keras_int8nmt.tokenizers.vocabulary import as_text
from keras_int8nmt.tokenizers.word_piece import WordPieceTokenizer

# What is saved must do with these what the object does.
_PROBES = (
    "the cat sat on the mat", "The CAT, (sat) on it's mat!", "caf\xe9 Stra\xdfe \xc0\xc8", "", "x",
    "1 23 4567.89", "a  b\tc", " a ", "\u65e5\u672c\u8a9e text", "\U0001f600 x\u200by", "don't we",
)  # fmt: skip
_PROBED_PIECES, _GROUP = 300, 30
# How releases of KerasHub split a text before byte-level BPE: not at all, as Llama 3, as GPT-2.
_WORDS = (
    None,
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
)


class KerasHubTokenizer:
    """A tokenizer of KerasHub, such as `keras_hub.tokenizers.WordPieceTokenizer`.

    Args:
        tokenizer: The object, without a `sequence_length`.
        pad_id, eos_id: The ids of padding and of the end, for an object without a `pad_token_id` or
            `end_token_id`, such as one of the base classes.

    Attributes:
        pad_id, eos_id: Ids of the special tokens.

    `save` writes a tokenizer that gives the same ids without KerasHub: a `SentencePieceTokenizer`,
    a `WordPieceTokenizer` or, of byte-level BPE, a `HuggingFaceTokenizer`.

    Raises:
        TokenizerError: says which id to give, or that the object pads and cuts.

    Example:

        >>> hub = keras_hub.tokenizers.WordPieceTokenizer(vocabulary)
        >>> tokenizer = KerasHubTokenizer(hub, pad_id=0, eos_id=3)
    """

    def __init__(
        self, tokenizer: Any, *, pad_id: int | None = None, eos_id: int | None = None
    ) -> None:
        self._name = type(tokenizer).__name__
        if getattr(tokenizer, "sequence_length", None) is not None:
            raise TokenizerError(
                f"The {self._name} of KerasHub pads and cuts to its `sequence_length`, "
                f"{tokenizer.sequence_length}; a translator asks for one without."
            )
        self._hub = tokenizer
        self.pad_id = self._special("pad_id", "pad_token_id", pad_id)
        self.eos_id = self._special("eos_id", "end_token_id", eos_id)
        if self.pad_id == self.eos_id:
            raise TokenizerError(
                f"The {self._name}: padding and the end have the same id {self.pad_id}."
            )
        self._ends = {self.pad_id, self.eos_id}
        start = getattr(tokenizer, "start_token_id", None)
        self._hidden = {*self._ends, *(() if start is None else (int(start),))}
        size = int(tokenizer.vocabulary_size())
        self._ids: Collection[int] = {*range(size), *self._ends}

    def _special(self, name: str, theirs: str, given: int | None) -> int:
        own: int | None = getattr(self._hub, theirs, None)
        found = given if own is None else own
        if found is None:
            raise TokenizerError(
                f"The {self._name} of KerasHub has no `{theirs}`: give "
                f"KerasHubTokenizer(..., {name}=...)."
            )
        return int(found)

    @property
    def source_ids(self) -> Collection[int]:
        """The ids that `encode` gives, padding among them."""
        return self._ids

    @property
    def target_ids(self) -> Collection[int]:
        """The ids that `decode` knows."""
        return self._ids

    def encode(self, text: str) -> list[int]:
        """Token ids of `text` and the end token."""
        ids = _plain(self._hub.tokenize(as_text(text)))
        return [*(i for i in map(int, ids) if i not in self._ends), self.eos_id]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of target token ids, without padding, begin and end tokens."""
        shown = [i for i in map(int, ids) if i not in self._hidden]
        for i in shown:
            if i not in self._ids:
                raise ValueError(f"Token id {i} is not in the target vocabulary.")
        if not shown:
            return ""
        text = _plain(self._hub.detokenize(shown))
        return (text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)).strip()

    def portable(self) -> Any:
        """A tokenizer that gives the same ids without KerasHub.

        Raises:
            TokenizerError: for an object of which none is known, or none that does the same.
        """
        expected = {text: self.encode(text) for text in self._probes()}
        differs = ""
        for made in self._made_again():
            differs = self._difference(made, expected)
            if not differs:
                return made
        raise TokenizerError(
            f"A {self._name} of KerasHub can't be saved: {differs}. A class of your own can hold "
            "it: see register_tokenizer, docs/tokenizers.md."
        )

    def _difference(self, made: Any, expected: Mapping[str, list[int]]) -> str:
        for text, ids in expected.items():
            told = f"{text[:40]!r} has the ids {ids[:20]}"
            if made.encode(text) != ids:
                return f"{told}, and would have {made.encode(text)[:20]} without KerasHub"
            if made.decode(ids) != self.decode(ids):
                return f"{told}, which would become {made.decode(ids)[:40]!r} without KerasHub"
        return ""

    def _probes(self) -> list[str]:
        size = int(self._hub.vocabulary_size())
        some = range(0, size, 1 + size // _PROBED_PIECES)
        # Control characters are dropped by KerasHub's older roads and kept by its newer ones.
        pieces = list(filter(str.isprintable, (self.decode([i]) for i in some)))
        # TensorFlow's road takes its time with each text.
        groups = (pieces[i : i + _GROUP] for i in range(0, len(pieces), _GROUP))
        return [*_PROBES, *map(" ".join, groups)]

    def _made_again(self) -> Iterator[Any]:
        """What may do the same."""
        hub = self._hub
        ids: dict[str, Any] = {"pad_id": self.pad_id, "eos_id": self.eos_id}
        if isinstance(getattr(hub, "proto", None), bytes):
            yield SentencePieceTokenizer(hub.proto, **ids, add_bos=bool(hub.add_bos))
            return
        vocabulary, merges = (getattr(hub, name, None) for name in ("vocabulary", "merges"))
        if isinstance(vocabulary, dict) and merges is not None:
            special = list(getattr(hub, "unsplittable_tokens", None) or ())
            space = bool(getattr(hub, "add_prefix_space", False))
            for words in _WORDS:
                live = bytes_bpe(vocabulary, list(merges), special, space, words)
                yield HuggingFaceTokenizer(live, **ids)
            return
        names = ("lowercase", "strip_accents", "split_on_cjk", "suffix_indicator", "oov_token")
        if isinstance(vocabulary, list) and all(hasattr(hub, name) for name in names):
            settings = {name: getattr(hub, name) for name in names}
            yield WordPieceTokenizer(vocabulary, **ids, **settings)
            return
        raise TokenizerError(
            f"A {self._name} of KerasHub can't be saved: it has neither the `proto` of "
            "SentencePiece, nor `vocabulary` and `merges`, nor the `vocabulary` of WordPiece. A "
            "class of your own can hold it: see register_tokenizer, docs/tokenizers.md."
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the files of `portable()` into an existing folder."""
        self.portable().save(folder)


def _plain(value: Any) -> Any:
    """What a tensor or an array holds, as Python's own."""
    for name in ("numpy", "tolist"):
        method = getattr(value, name, None)
        value = method() if callable(method) else value
    return value


def of_keras_hub(tokenizer: Any, pad_id: int | None, eos_id: int | None) -> KerasHubTokenizer:
    """A tokenizer of KerasHub; the ids are for where it has none."""
    return KerasHubTokenizer(tokenizer, pad_id=pad_id, eos_id=eos_id)


def saved_form(tokenizer: Any) -> Any:
    """What is saved of a tokenizer: of KerasHub's one that runs without it, any other itself."""
    return tokenizer.portable() if isinstance(tokenizer, KerasHubTokenizer) else tokenizer
