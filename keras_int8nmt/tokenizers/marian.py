"""`MarianTokenizer`: text to token ids and back, as `transformers` does it for Marian models."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from keras_int8nmt._untrusted import json_object
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.language_codes import LanguageCodes
from keras_int8nmt.tokenizers.sentencepiece_model import open_sentencepiece
from keras_int8nmt.tokenizers.vocabulary import (
    CONFIG_FILE,
    as_text,
    parse_vocabulary,
    read_file,
    special_tokens,
)


class MarianTokenizer:
    """The tokenizer of a Marian (OPUS-MT) folder.

    Args:
        folder: Has `source.spm`, `target.spm` and `vocab.json`. A `target_vocab.json` is the
            vocabulary of the target where that is another one, and a `tokenizer_config.json` may
            rename the special tokens. Tokens that were added, in `added_tokens.json` or there in
            `added_tokens_decoder`, are taken out of a text before anything else and put back as
            they are.

    Attributes:
        pad_id, eos_id, unk_id: Ids of the special tokens.
        files: The files' names and contents, for saving a copy.

    Text is normalized by the SentencePiece model and by nothing else. Pieces that the vocabulary
    lacks become `unk_id`. A language code at the start, such as `>>deu<<`, is one token; one that
    the vocabulary lacks is `unk_id` where it has others, and `remark` says so.

    Raises:
        TokenizerError: Names a missing or corrupt file.

    Example:

        >>> tokenizer = MarianTokenizer("opus-mt-en-de")
        >>> tokenizer.decode(tokenizer.encode("Good morning."))
        'Good morning.'
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        files = {name: read_file(folder / name) for name in _FILES}
        for name in _OPTIONAL_FILES:
            if os.path.lexists(folder / name):
                files[name] = read_file(folder / name)
        self._set(files, folder)

    @classmethod
    def of_files(cls, files: Mapping[str, bytes], folder: str | Path) -> MarianTokenizer:
        """A tokenizer of contents that no folder has.

        Args:
            files: What the files of a folder hold, by their names.
            folder: What messages call it.
        """
        made = cls.__new__(cls)
        made._set(dict(files), Path(folder))
        return made

    def _set(self, files: dict[str, bytes], folder: Path) -> None:
        self.files = files
        self._source = open_sentencepiece(folder / "source.spm", self.files["source.spm"])
        self._target = self._source
        # Many models have one for both; making one takes milliseconds.
        if self.files["target.spm"] != self.files["source.spm"]:
            self._target = open_sentencepiece(folder / "target.spm", self.files["target.spm"])
        self._ids = parse_vocabulary(folder / "vocab.json", self.files["vocab.json"])
        target_ids = self._ids
        if "target_vocab.json" in self.files:
            name = "target_vocab.json"
            target_ids = parse_vocabulary(folder / name, self.files[name])
        config = json_object(
            folder / CONFIG_FILE, self.files.get(CONFIG_FILE, b"{}"), TokenizerError
        )
        self._codes = LanguageCodes(self._ids)
        added, hidden = self._added_tokens(folder, config)
        self._added = _Added(added, self._ids)
        # A piece of the target's own vocabulary may have the id.
        self._target_added = _Added(added, target_ids)
        self._ids = {**self._ids, **added}
        target_ids = {**target_ids, **self._target_added.ids}
        self._pieces = {i: piece for piece, i in target_ids.items()}

        tokens = special_tokens(folder / CONFIG_FILE, config)
        for token in tokens.values():
            if token not in self._ids:
                raise TokenizerError(f"{folder / 'vocab.json'} has no piece {token!r}.")
        self.eos_id = self._ids[tokens["eos_token"]]
        self.unk_id = self._ids[tokens["unk_token"]]
        self.pad_id = self._ids[tokens["pad_token"]]
        self._special_pieces = frozenset(tokens.values())
        # What a decoded text does not show.
        self._hidden = self._special_pieces | hidden
        # Characters of a text never make a special token.
        self._source_pieces, self._target_pieces = (
            {piece: i for piece, i in vocabulary.items() if piece not in self._special_pieces}
            for vocabulary in (self._ids, target_ids)
        )

    def _added_tokens(
        self, folder: Path, config: dict[str, Any]
    ) -> tuple[dict[str, int], frozenset[str]]:
        """Tokens that `vocab.json` lacks, with their ids, and those of them that are special."""
        added: dict[str, int] = {}
        told = [(_ADDED, parse_vocabulary(folder / _ADDED, self.files.get(_ADDED, b"{}")))]
        more, special = _added_of_config(folder / CONFIG_FILE, config)
        names = {i: piece for piece, i in self._ids.items()}
        for file, tokens in [*told, (CONFIG_FILE, more)]:
            for token, i in tokens.items():
                known = self._ids.get(token, added.get(token))
                if not token or known not in (None, i) or names.get(i, token) != token:
                    raise TokenizerError(
                        f"{folder / file} gives {token!r} the id {i}, which is "
                        f"{names.get(i)!r} in vocab.json, or {known} there."
                    )
                names[i] = token
                if token not in self._ids:
                    added[token] = i
        return added, special & added.keys()

    @property
    def source_ids(self) -> Collection[int]:
        """The ids that `encode` gives."""
        return self._ids.values()

    @property
    def target_ids(self) -> Collection[int]:
        """The ids that `decode` knows."""
        return self._pieces.keys()

    @property
    def language_codes(self) -> list[str]:
        """The language codes of the vocabulary, such as ">>deu<<": one of them begins a text."""
        return list(self._codes.codes)

    def encode(self, text: str) -> list[int]:
        """Token ids of `text` and the end token."""
        code, text = self._codes.split(text)
        ids = [self._ids.get(code, self.unk_id)] if code else []
        pieces = self._pieces_to_ids(text, self._source, self._source_pieces, self._added)
        return [*ids, *pieces, self.eos_id]

    def has_text(self, text: str) -> bool:
        """Whether there is anything to translate; language codes are nothing."""
        return self._codes.has_text(text)

    def remark(self, text: str) -> str | None:
        """What whoever sent a text should know of it: a language code that the model has not."""
        return self._codes.remark(text, self._ids)

    def encode_target(self, text: str) -> list[int]:
        """Token ids of a translation and the end token: what a decoder learns to produce."""
        pieces = self._pieces_to_ids(text, self._target, self._target_pieces, self._target_added)
        return [*pieces, self.eos_id]

    def _pieces_to_ids(
        self, text: str, model: Any, ids: dict[str, int], added: _Added
    ) -> list[int]:
        text = as_text(text)
        get, unknown = ids.get, self.unk_id
        found: list[int] = []
        for part in added.split(text):
            if part in added.ids:
                found.append(added.ids[part])
            else:
                found += [get(piece, unknown) for piece in model.encode(part, out_type=str)]
        return found

    def decode(self, ids: Iterable[int]) -> str:
        """Text of target token ids, without special tokens."""
        parts: list[str] = []
        pieces: list[str] = []
        for i in ids:
            piece = self._pieces.get(int(i))
            if piece is None:
                raise ValueError(f"Token id {int(i)} is not in the target vocabulary.")
            if piece in self._hidden:
                continue
            if piece in self._target_added.ids:
                parts += [self._text(pieces), piece]
                pieces = []
            else:
                pieces.append(piece)
        return " ".join(filter(None, [*parts, self._text(pieces)]))

    def _text(self, pieces: list[str]) -> str:
        text: str = self._target.decode_pieces(pieces)
        return text.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").strip()

    def save(self, folder: str | Path) -> None:
        """Writes the files of this tokenizer into an existing folder."""
        for name, content in self.files.items():
            (Path(folder) / name).write_bytes(content)


class _Added:
    """Tokens that are taken out of a text as they stand in it."""

    def __init__(self, tokens: dict[str, int], vocabulary: dict[str, int]) -> None:
        taken = set(vocabulary.values())
        self.ids = {token: i for token, i in tokens.items() if i not in taken}
        # The longest first: one may begin with another.
        words = sorted(self.ids, key=lambda token: (-len(token), token))
        self._pattern = re.compile(f"({'|'.join(map(re.escape, words))})") if words else None

    def split(self, text: str) -> list[str]:
        """The text in pieces, of which some are these tokens."""
        return [text] if self._pattern is None else [p for p in self._pattern.split(text) if p]


_ADDED = "added_tokens.json"
_MOST_ADDED = 10_000
_FILES = ("source.spm", "target.spm", "vocab.json")
_OPTIONAL_FILES = ("target_vocab.json", CONFIG_FILE, _ADDED)


def _added_of_config(path: Path, config: dict[str, Any]) -> tuple[dict[str, int], frozenset[str]]:
    """The tokens of `added_tokens_decoder`, `{"6001": {"content": "<x>", "special": false}}`."""
    told = config.get("added_tokens_decoder", {})
    if not isinstance(told, dict) or len(told) > _MOST_ADDED:
        raise TokenizerError(f"{path}: 'added_tokens_decoder' must be a JSON object of tokens.")
    tokens: dict[str, int] = {}
    special = set()
    for i, token in told.items():
        content = token.get("content") if isinstance(token, dict) else None
        if not isinstance(content, str) or content in tokens or not re.fullmatch("[0-9]{1,9}", i):
            raise TokenizerError(f"{path}: added token {i!r} of 'added_tokens_decoder' is none.")
        tokens[content] = int(i)
        if token.get("special") is True:
            special.add(content)
    return tokens, frozenset(special)
