"""`Tokenizer`: what translation, calibration and evaluation ask of a tokenizer."""

from __future__ import annotations

from typing import Protocol


class Tokenizer(Protocol):
    """What a `Translator` asks of a tokenizer; any object with these will do.

    One that has its own target vocabulary also has `encode_target(text)`, which calibration and
    autotuning ask for the ids of references; where there is none, `encode` serves. One that is
    saved with a model has `save(folder)`, see `kinds`.

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
