"""The tokenizer of a CTranslate2 folder: its vocabularies, and what beside them makes pieces."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_int8nmt._untrusted import inside
from keras_int8nmt.importers.ct2_settings import CTranslate2Model, open_model
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.piece_tokenizer import (
    BPE,
    SPM,
    TARGET_SPM,
    PieceTokenizer,
)
from keras_int8nmt.tokenizers.vocabulary import read_file

# SentencePiece models of a side each, one of both sides, or the only one of this ending.
_SOURCE, _TARGET = "source.spm", "target.spm"
_BOTH = ("sentencepiece.model", "spm.model")
_ENDING = ".spm"
_BPE = ("bpe.model", "bpe.codes")
# Models that transformers had are fed by their tokenizer, which ends sources.
_STARTS_OF_TRANSFORMERS = ("<pad>",)


def open_tokenizer(folder: Path) -> PieceTokenizer:
    """The tokenizer of a folder.

    Raises:
        CTranslate2FormatError: as `open_model`.
        TokenizerError: naming a file that is damaged, or several of which one must be meant.
    """
    return tokenizer_of(folder, open_model(folder), folder)


def tokenizer_of(
    folder: Path,
    model: CTranslate2Model,
    beside: Path,
    prefix: str | None = None,
    languages: Sequence[Any] | None = None,
) -> PieceTokenizer:
    """The tokenizer of a model in one folder with what makes its pieces in the same or another.

    Args:
        folder: The model's.
        model: What was found in it.
        beside: Where a SentencePiece model or codes may lie.
        prefix: A token that begins each translation and is no text.
        languages: Of sources and translations, where codes are for words of Moses' tokenizer.
    """
    tokens = model.tokens
    pieces, files = _pieces(beside)
    if pieces == "subword-nmt" and languages is not None:
        pieces = "moses subword-nmt"
    if not pieces:
        pieces = "characters" if _are_characters(model) else "spaces"
    ended = pieces == "sentencepiece" and tokens.start in _STARTS_OF_TRANSFORMERS
    content = {
        "pieces": pieces,
        "source": tokens.source,
        "target": None if tokens.shared else tokens.target,
        "unk": tokens.unk,
        "bos": tokens.bos,
        "eos": tokens.eos,
        "start": tokens.start,
        "add_bos": tokens.add_source_bos,
        "add_eos": tokens.add_source_eos or (ended and tokens.eos in tokens.source),
        "pad_id": model.settings["pad_id"],
        "prefix": prefix,
        "languages": languages,
    }
    return PieceTokenizer.of_tokens(content, files, folder)


def _pieces(folder: Path) -> tuple[str, dict[str, bytes]]:
    """The name of what makes pieces by files of a folder, "" without any, and these files."""

    def there(name: str) -> bool:
        return os.path.lexists(inside(folder, name, TokenizerError))

    if there(_SOURCE):
        names = {SPM: _SOURCE, TARGET_SPM: _TARGET}
        found = {ours: read_file(folder / name) for ours, name in names.items() if there(name)}
        return "sentencepiece", found
    others = [name for name in _BOTH if there(name)]
    if not others:
        others = sorted(each.name for each in folder.iterdir() if each.name.endswith(_ENDING))
    if len(others) > 1:
        raise TokenizerError(
            f"{str(folder)!r} has {', '.join(others)}; which of them makes the pieces of sources? "
            f"Call it {_SOURCE}, and that of translations {_TARGET}."
        )
    if others:
        path = inside(folder, others[0], TokenizerError)
        return "sentencepiece", {SPM: read_file(path)}
    for name in filter(there, _BPE):
        return "subword-nmt", {BPE: read_file(folder / name)}
    return "", {}


def _are_characters(model: CTranslate2Model) -> bool:
    """Whether every token of the source is one character, but for those in brackets."""
    words = [t for t in model.tokens.source if not (t.startswith("<") and t.endswith(">"))]
    return bool(words) and all(len(word) == 1 for word in words)
