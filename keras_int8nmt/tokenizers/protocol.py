"""`Tokenizer`: what translation, calibration and evaluation ask of a tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from keras_int8nmt._text import visible


class Tokenizer(Protocol):
    """What a `Translator` asks of a tokenizer; any object with these will do.

    One that has its own target vocabulary also has `encode_target(text)`, which calibration and
    autotuning ask for the ids of references; where there is none, `encode` serves. One that knows
    of text that is not to be translated, such as language codes, has `has_text(text)`; where there
    is none, whatever can be seen is text. One that has something to tell of a text, such as a
    language code that it does not know, has `remark(text)`, which gives that or None; it is said in
    a warning with the number of the line. One whose model takes sources without an end token, as
    some of OpenNMT's do, says `source_eos = False`, and its `encode` gives none then; a target has
    its end token in any case. `source_ids` and `target_ids`, where they are there, must be the
    model's, see `fit`. One that is saved with a model has `save(folder)`, see `kinds`.

    Attributes:
        pad_id: The id of padding, the model's `pad_id`.
        eos_id: The id that ends a sentence, the model's `eos_id`.
    """

    pad_id: int
    eos_id: int

    def encode(self, text: str) -> list[int]:
        """Token ids of a sentence, the end token last, unless `source_eos` is false."""

    def decode(self, ids: list[int]) -> str:
        """The text of generated tokens."""


def source_end(tokenizer: Any, eos_id: int) -> int | None:
    """The token that ends each source: the model's end token, or None by the tokenizer's word.

    Args:
        tokenizer: A tokenizer; None, which says nothing.
        eos_id: The model's.
    """
    return eos_id if getattr(tokenizer, "source_eos", True) else None


def target_ids(tokenizer: Any, text: str, eos_id: int) -> list[int]:
    """Token ids of a translation, the end token last.

    Args:
        tokenizer: One that has a vocabulary for both sides need not have `encode_target`.
        text: The translation.
        eos_id: The model's end token.
    """
    encode: Callable[[str], list[int]] | None = getattr(tokenizer, "encode_target", None)
    if encode is not None:
        return encode(text)
    ids: list[int] = tokenizer.encode(text)
    return ids if source_end(tokenizer, eos_id) is not None else [*ids, eos_id]


def text_test(tokenizer: Any) -> Callable[[str], bool]:
    """What tells whether there is anything to translate in a text, by the tokenizer's own word."""
    test: Callable[[str], bool] = getattr(tokenizer, "has_text", visible)
    return test
