"""A tokenizer of letters: the one file that a format with a tokenizer of its own adds."""

from __future__ import annotations

from pathlib import Path

FILE = "toy_letters.txt"


class ToyTokenizer:
    """Each letter of the file is a token; 0 is padding and 1 the end."""

    pad_id, eos_id = 0, 1

    def __init__(self, folder: Path) -> None:
        self.letters = (folder / FILE).read_text()

    def encode(self, text: str) -> list[int]:
        return [2 + self.letters.index(c) for c in text if c in self.letters] + [1]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.letters[i - 2] for i in ids if i > 1)

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(self.letters)
