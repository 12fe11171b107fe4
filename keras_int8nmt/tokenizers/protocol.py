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
    a warning with the number of the line. `source_ids` and `target_ids`, where they are there, must
    be the model's, see `fit`. One that is saved with a model has `save(folder)`, see `kinds`.

    Attributes:
        pad_id: The id of padding, the model's `pad_id`.
        eos_id: The id that ends a sentence, the model's `eos_id`.
    """

    pad_id: int
    eos_id: int

    def encode(self, text: str) -> list[int]:
        """Token ids of a sentence, the end token last."""

    def decode(self, ids: list[int]) -> str:
        """The text of generated tokens."""


def text_test(tokenizer: Any) -> Callable[[str], bool]:
    """What tells whether there is anything to translate in a text, by the tokenizer's own word."""
    test: Callable[[str], bool] = getattr(tokenizer, "has_text", visible)
    return test
