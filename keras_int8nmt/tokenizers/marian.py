"""`MarianTokenizer`: text to token ids and back, as `transformers` does it for Marian models."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import sentencepiece

from keras_int8nmt._text import visible
from keras_int8nmt._untrusted import parse_json, read_bytes
from keras_int8nmt.errors import KerasInt8nmtError

_SPECIAL = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_LANGUAGE_CODE = re.compile(r">>[^<>\s]+<<")


class TokenizerError(KerasInt8nmtError, ValueError):
    """A tokenizer file is missing or is not what it should be; the message names it."""


class MarianTokenizer:
    """The tokenizer of a Marian (OPUS-MT) folder.

    Args:
        folder: Has `source.spm`, `target.spm` and `vocab.json`. A `target_vocab.json` is the
            vocabulary of the target where that is another one, and a `tokenizer_config.json` may
            rename the special tokens.

    Attributes:
        pad_id, eos_id, unk_id: Ids of the special tokens.
        files: The files' names and contents, for saving a copy.

    Text is normalized by the SentencePiece model and by nothing else. Pieces that the vocabulary
    lacks become `unk_id`. A language code at the start, such as `>>deu<<`, is one token if the
    vocabulary has it.

    Raises:
        TokenizerError: Names a missing or corrupt file.

    Example:

        >>> tokenizer = MarianTokenizer("opus-mt-en-de")
        >>> tokenizer.decode(tokenizer.encode("Good morning."))
        'Good morning.'
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        self.files = {name: _read(folder / name) for name in _FILES}
        for name in _OPTIONAL_FILES:
            if os.path.lexists(folder / name):
                self.files[name] = _read(folder / name)

        self._source = _sentencepiece(folder / "source.spm", self.files["source.spm"])
        self._target = self._source
        # Many models have one for both; making one takes milliseconds.
        if self.files["target.spm"] != self.files["source.spm"]:
            self._target = _sentencepiece(folder / "target.spm", self.files["target.spm"])
        self._ids = _vocabulary(folder / "vocab.json", self.files["vocab.json"])
        target_ids = self._ids
        if "target_vocab.json" in self.files:
            name = "target_vocab.json"
            target_ids = _vocabulary(folder / name, self.files[name])
        self._pieces = {i: piece for piece, i in target_ids.items()}

        tokens = self._special_tokens(folder / "tokenizer_config.json")
        for token in tokens.values():
            if token not in self._ids:
                raise TokenizerError(f"{folder / 'vocab.json'} has no piece {token!r}.")
        self.eos_id = self._ids[tokens["eos_token"]]
        self.unk_id = self._ids[tokens["unk_token"]]
        self.pad_id = self._ids[tokens["pad_token"]]
        self._special_pieces = frozenset(tokens.values())
        # Characters of a text never make a special token.
        self._source_pieces, self._target_pieces = (
            {piece: i for piece, i in vocabulary.items() if piece not in self._special_pieces}
            for vocabulary in (self._ids, target_ids)
        )

    def _special_tokens(self, path: Path) -> dict[str, str]:
        config = _json(path, self.files.get(path.name, b"{}"))
        tokens = {}
        for name, default in _SPECIAL.items():
            token = config.get(name, default)
            # `transformers` also writes {"content": "<pad>", "lstrip": false, ...}.
            token = token.get("content") if isinstance(token, dict) else token
            if not isinstance(token, str):
                raise TokenizerError(f"{path}: {name!r} must be text; it is {token!r}.")
            tokens[name] = token
        return tokens

    @property
    def source_ids(self) -> Collection[int]:
        """The ids that `encode` gives."""
        return self._ids.values()

    @property
    def target_ids(self) -> Collection[int]:
        """The ids that `decode` knows."""
        return self._pieces.keys()

    def encode(self, text: str) -> list[int]:
        """Token ids of `text` and the end token."""
        code, text = self._split(text)
        ids = [self._ids[code]] if code else []
        return [*ids, *self._pieces_to_ids(text, self._source, self._source_pieces), self.eos_id]

    def has_text(self, text: str) -> bool:
        """Whether there is anything to translate; language codes are nothing."""
        code, text = self._split(text)
        while code:
            code, text = self._split(text.lstrip())
        return visible(text)

    def _split(self, text: str) -> tuple[str, str]:
        """The language code at the start, "" without one, and what follows."""
        code = _LANGUAGE_CODE.match(text)
        if code is None or code.group() not in self._ids:
            return "", text
        return code.group(), text[code.end() :]

    def encode_target(self, text: str) -> list[int]:
        """Token ids of a translation and the end token: what a decoder learns to produce."""
        return [*self._pieces_to_ids(text, self._target, self._target_pieces), self.eos_id]

    def _pieces_to_ids(self, text: str, model: Any, ids: dict[str, int]) -> list[int]:
        # Half of a surrogate pair is not text and can't be written as UTF-8.
        text = text.encode("utf-8", "replace").decode("utf-8")
        get, unknown = ids.get, self.unk_id
        return [get(piece, unknown) for piece in model.encode(text, out_type=str)]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of target token ids, without special tokens."""
        pieces = []
        for i in ids:
            piece = self._pieces.get(int(i))
            if piece is None:
                raise ValueError(f"Token id {int(i)} is not in the target vocabulary.")
            if piece not in self._special_pieces:
                pieces.append(piece)
        return self._target.decode_pieces(pieces).replace("\N{LOWER ONE EIGHTH BLOCK}", " ").strip()

    def save(self, folder: str | Path) -> None:
        """Writes the files of this tokenizer into an existing folder."""
        for name, content in self.files.items():
            (Path(folder) / name).write_bytes(content)


_FILES = ("source.spm", "target.spm", "vocab.json")
# A vocabulary of a million pieces has a third of it.
_MOST_BYTES = 64 << 20
_OPTIONAL_FILES = ("target_vocab.json", "tokenizer_config.json")


def _read(path: Path) -> bytes:
    return read_bytes(path, _MOST_BYTES, TokenizerError)


def _sentencepiece(path: Path, content: bytes) -> Any:
    try:
        if not content:
            raise ValueError("it is empty")
        return sentencepiece.SentencePieceProcessor(model_proto=content)
    except Exception as error:  # which class it is depends on the release of sentencepiece
        raise TokenizerError(f"{path} is not a SentencePiece model: {error}") from error


def _json(path: Path, content: bytes) -> dict[str, Any]:
    try:
        value = parse_json(content)
    except ValueError as error:
        raise TokenizerError(f"{path} is not JSON in UTF-8: {error}") from error
    if not isinstance(value, dict):
        raise TokenizerError(f"{path} must hold a JSON object.")
    return value


def _vocabulary(path: Path, content: bytes) -> dict[str, int]:
    ids = _json(path, content)
    for piece, i in ids.items():
        if type(i) is not int or not 0 <= i < 1 << 31:
            raise TokenizerError(f"{path}: the id of piece {piece!r} is {i!r}.")
    if len(set(ids.values())) != len(ids):
        raise TokenizerError(f"{path} gives one id to several pieces.")
    return ids
