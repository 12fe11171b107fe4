"""`SubwordNMTTokenizer`: words in pieces by `subword-nmt`, and pieces in ids by a vocabulary."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from keras_int8nmt._untrusted import json_object
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.language_codes import LanguageCodes
from keras_int8nmt.tokenizers.subword_nmt import BytePairEncoding, frequent_pieces
from keras_int8nmt.tokenizers.vocabulary import (
    CONFIG_FILE,
    parse_vocabulary,
    read_file,
    special_tokens,
)

_SOURCE, _TARGET = "source.bpe", "target.bpe"
_COUNTS = {_SOURCE: "source.bpe.vocab", _TARGET: "target.bpe.vocab"}
_VOCABULARY, _TARGET_VOCABULARY = "vocab.json", "target_vocab.json"
_THRESHOLD = "vocabulary_threshold"
FILES = (_SOURCE, _TARGET, *_COUNTS.values(), _VOCABULARY, _TARGET_VOCABULARY, CONFIG_FILE)
_NEEDED = (_SOURCE, _VOCABULARY)


class SubwordNMTTokenizer:
    """Byte pair encoding of `subword-nmt` and a vocabulary, one or two of each.

    Args:
        folder: Has `source.bpe`, the codes, and `vocab.json`, pieces and their ids:
            `{"</s>": 0, "<unk>": 1, "the": 2, "lo@@": 3, ...}`. `target.bpe` and
            `target_vocab.json` are the target's, where those are others. `source.bpe.vocab` and
            `target.bpe.vocab`, of `subword-nmt get-vocab`, and `vocabulary_threshold` in
            `tokenizer_config.json` say what pieces are made at all; the latter may rename the
            special tokens `</s>`, `<unk>` and `<pad>`, too.

    Attributes:
        pad_id, eos_id, unk_id: Ids of the special tokens.
        files: The files' names and contents, for saving a copy.

    Text is split at spaces and nothing else is done to it: see `BytePairEncoding`. Pieces that the
    vocabulary lacks become `unk_id`. A language code at the start, such as `>>deu<<`, is one token,
    as it is for `MarianTokenizer`.

    Raises:
        TokenizerError: Names a missing or corrupt file.

    Example:

        >>> tokenizer = SubwordNMTTokenizer.from_files("bpe.codes", "vocab.json")
        >>> tokenizer.decode(tokenizer.encode("the lowest tower"))
        'the lowest tower'
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        folder = Path(folder)
        names = [name for name in FILES if name in _NEEDED or os.path.lexists(folder / name)]
        self._set({name: read_file(folder / name) for name in names}, folder, {})

    @classmethod
    def from_files(
        cls,
        codes: str | os.PathLike[str],
        vocabulary: str | os.PathLike[str] | Mapping[str, int],
        *,
        target_codes: str | os.PathLike[str] | None = None,
        target_vocabulary: str | os.PathLike[str] | Mapping[str, int] | None = None,
        piece_counts: str | os.PathLike[str] | None = None,
        target_piece_counts: str | os.PathLike[str] | None = None,
        vocabulary_threshold: int = 0,
        eos_token: str = "</s>",
        unk_token: str = "<unk>",
        pad_token: str = "<pad>",
    ) -> SubwordNMTTokenizer:
        """A tokenizer of files that lie anywhere.

        Args:
            codes: The codes file.
            vocabulary: Pieces and their ids, or a JSON file of them.
            target_codes, target_vocabulary: The target's, where they are others.
            piece_counts, target_piece_counts: Files of `subword-nmt get-vocab`.
            vocabulary_threshold: Pieces that were seen less often are not made.
            eos_token, unk_token, pad_token: Names of the special tokens in the vocabularies.
        """
        config = {"eos_token": eos_token, "unk_token": unk_token, "pad_token": pad_token}
        told = {
            _SOURCE: codes,
            _TARGET: target_codes,
            _COUNTS[_SOURCE]: piece_counts,
            _COUNTS[_TARGET]: target_piece_counts,
            _VOCABULARY: vocabulary,
            _TARGET_VOCABULARY: target_vocabulary,
            CONFIG_FILE: {**config, _THRESHOLD: vocabulary_threshold},
        }
        files, places = {}, {}
        for name, each in told.items():
            if isinstance(each, Mapping):
                files[name] = json.dumps(dict(each), ensure_ascii=False).encode()
            elif each is not None:
                places[name] = Path(each)
                files[name] = read_file(places[name])
        made = cls.__new__(cls)
        made._set(files, Path(), places)
        return made

    def _set(self, files: dict[str, bytes], folder: Path, places: Mapping[str, Path]) -> None:
        def place(name: str) -> Path:
            return places.get(name, folder / name)

        self.files = files
        config = json_object(place(CONFIG_FILE), files.get(CONFIG_FILE, b"{}"), TokenizerError)
        threshold = config.get(_THRESHOLD, 0)
        if type(threshold) is not int:
            raise TokenizerError(
                f"{str(place(CONFIG_FILE))!r}: {_THRESHOLD!r} must be a whole number; it is "
                f"{threshold!r}."
            )

        def segmentation(name: str) -> BytePairEncoding:
            pieces, counts = None, _COUNTS[name]
            if counts in files:
                pieces = frequent_pieces(files[counts], place(counts), threshold)
            # One of the target alone, with the codes of both.
            codes = name if name in files else _SOURCE
            return BytePairEncoding(files[codes], place(codes), pieces=pieces)

        self._source = self._target = segmentation(_SOURCE)
        if _TARGET in files or _COUNTS[_TARGET] in files:
            self._target = segmentation(_TARGET)
        ids = target_ids = parse_vocabulary(place(_VOCABULARY), files[_VOCABULARY])
        if _TARGET_VOCABULARY in files:
            name = _TARGET_VOCABULARY
            target_ids = parse_vocabulary(place(name), files[name])
        tokens = special_tokens(place(CONFIG_FILE), config)
        for token in tokens.values():
            if token not in ids:
                raise TokenizerError(f"{str(place(_VOCABULARY))!r} has no piece {token!r}.")
        self.eos_id, self.unk_id, self.pad_id = (ids[token] for token in tokens.values())
        for token in tokens.values():
            if target_ids.get(token, ids[token]) != ids[token]:
                raise TokenizerError(
                    f"{str(place(_TARGET_VOCABULARY))!r} gives {token!r} another id than "
                    f"{str(place(_VOCABULARY))!r}."
                )
        self._ids, self._pieces = ids, {i: piece for piece, i in target_ids.items()}
        self._codes, self._special = LanguageCodes(ids), frozenset(tokens.values())
        # Characters of a text never make a special token.
        self._source_pieces, self._target_pieces = (
            {piece: i for piece, i in each.items() if piece not in self._special}
            for each in (ids, target_ids)
        )

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
        return [*ids, *self._to_ids(self._source.encode(text), self._source_pieces), self.eos_id]

    def encode_target(self, text: str) -> list[int]:
        """Token ids of a translation and the end token: what a decoder learns to produce."""
        return [*self._to_ids(self._target.encode(text), self._target_pieces), self.eos_id]

    def _to_ids(self, pieces: Iterable[str], ids: Mapping[str, int]) -> list[int]:
        return [ids.get(piece, self.unk_id) for piece in pieces]

    def has_text(self, text: str) -> bool:
        """Whether there is anything to translate; language codes are nothing."""
        return self._codes.has_text(text)

    def remark(self, text: str) -> str | None:
        """What whoever sent a text should know of it: a language code that the model has not."""
        return self._codes.remark(text, self._ids)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of target token ids, without special tokens."""
        pieces = []
        for i in map(int, ids):
            piece = self._pieces.get(i)
            if piece is None:
                raise ValueError(f"Token id {i} is not in the target vocabulary.")
            if piece not in self._special:
                pieces.append(piece)
        return self._target.decode(pieces)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the files of this tokenizer into an existing folder."""
        for name, content in self.files.items():
            (Path(folder) / name).write_bytes(content)
