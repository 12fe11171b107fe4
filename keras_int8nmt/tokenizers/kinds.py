"""The tokenizers that are saved with a model: one row a kind, known by its files.

To add one, write its class, which is made of a folder, `Class(folder)`, and writes its files into
one, `save(folder)`, and add a row to `KINDS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple


class TokenizerKind(NamedTuple):
    """A kind of tokenizer.

    `files` are all files that one may consist of; `mark`, among them, is there in any case and no
    other kind has it. The class is imported when it is needed.
    """

    mark: str
    files: tuple[str, ...]
    module: str
    name: str


KINDS = [
    TokenizerKind(
        "pieces.json",
        ("pieces.json", "pieces.spm", "pieces.target.spm", "pieces.bpe"),
        "keras_int8nmt.tokenizers.piece_tokenizer",
        "PieceTokenizer",
    ),
    TokenizerKind(
        "source.bpe",
        (
            *("source.bpe", "target.bpe", "source.bpe.vocab", "target.bpe.vocab"),
            *("vocab.json", "target_vocab.json", "tokenizer_config.json"),
        ),
        "keras_int8nmt.tokenizers.subword_tokenizer",
        "SubwordNMTTokenizer",
    ),
    TokenizerKind(
        "source.spm",
        # The last three are not in every folder.
        (
            *("source.spm", "target.spm", "vocab.json"),
            *("target_vocab.json", "tokenizer_config.json", "added_tokens.json"),
        ),
        "keras_int8nmt.tokenizers.marian",
        "MarianTokenizer",
    ),
]


def tokenizer_files() -> tuple[str, ...]:
    """The names of all files that tokenizers consist of."""
    return tuple(dict.fromkeys(name for kind in KINDS for name in kind.files))


def open_tokenizer(mark: str, folder: Path) -> Any:
    """The tokenizer of the kind with this mark, made of a folder."""
    kind = next(kind for kind in KINDS if kind.mark == mark)
    return getattr(importlib.import_module(kind.module), kind.name)(folder)


def load_tokenizer(folder: Path, files: Collection[str]) -> Any:
    """The tokenizer of a folder.

    Args:
        folder: The folder.
        files: Names of its files that count.

    Returns:
        The tokenizer, or None where no kind has its mark among `files`.

    Raises:
        TokenizerError: naming a file that is missing or corrupt.
    """
    for kind in KINDS:
        if kind.mark in files:
            return open_tokenizer(kind.mark, folder)
    return None
