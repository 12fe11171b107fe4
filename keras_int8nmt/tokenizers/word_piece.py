"""`WordPieceTokenizer`: WordPiece as KerasHub's layer does it, without KerasHub.

Schuster and Nakajima, "Japanese and Korean voice search", ICASSP 2012: a word is the longest piece
of the vocabulary that it begins with, then the longest that goes on, and so to its end.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_int8nmt._untrusted import json_object
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.vocabulary import as_text, read_file

FILE = "word_piece.json"
_MOST_IDS = 1 << 31
# A word of more bytes of UTF-8 is unknown.
_LONGEST_WORD = 100
_SPACES = frozenset(" \t\n\r\f")
# What is no letter in ASCII is punctuation, "^" and "$" too.
_ASCII_MARKS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
# Default_Ignorable_Code_Point of Unicode.
_IGNORED = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
_TEXTS, _FLAGS, _IDS = (
    ("suffix_indicator", "oov_token"),
    ("lowercase", "strip_accents", "split_on_cjk"),
    ("pad_id", "eos_id"),
)


class WordPieceTokenizer:
    """A vocabulary of WordPiece, with the rules of KerasHub's `WordPieceTokenizer`.

    Args:
        vocabulary: The pieces; the place of each is its id.
        pad_id, eos_id: The ids of padding and of the end.
        lowercase: Whether a text is lower-cased first (NFKC and case folding).
        strip_accents: Whether accents are taken from a text first.
        split_on_cjk: Whether each Chinese character is a word.
        suffix_indicator: What a piece begins with that goes on with a word.
        oov_token: The piece of a word that the vocabulary can't make.

    Attributes:
        pad_id, eos_id, unk_id: Ids of the special tokens.

    A text is split at spaces and around punctuation; a decoded one has a space between all words.

    Raises:
        TokenizerError: for a vocabulary or ids that can't be.

    Example:

        >>> pieces = ["[PAD]", "[UNK]", "[END]", "the", "qu", "##ick", "."]
        >>> tokenizer = WordPieceTokenizer(pieces, pad_id=0, eos_id=2)
        >>> tokenizer.encode("the quick.")
        [3, 4, 5, 6, 2]
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        pad_id: int,
        eos_id: int,
        lowercase: bool = False,
        strip_accents: bool = False,
        split_on_cjk: bool = True,
        suffix_indicator: str = "##",
        oov_token: str = "[UNK]",
    ) -> None:
        self._set(
            {
                "vocabulary": list(vocabulary),
                "pad_id": pad_id,
                "eos_id": eos_id,
                "lowercase": lowercase,
                "strip_accents": strip_accents,
                "split_on_cjk": split_on_cjk,
                "suffix_indicator": suffix_indicator,
                "oov_token": oov_token,
            },
            "`WordPieceTokenizer`",
        )

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> WordPieceTokenizer:
        """What `save` wrote.

        Raises:
            TokenizerError: naming the file that is missing or damaged.
        """
        path = Path(folder) / FILE
        made = cls.__new__(cls)
        made._set(json_object(path, read_file(path), TokenizerError), repr(str(path)))
        return made

    def _set(self, settings: dict[str, Any], place: str) -> None:
        names = ("vocabulary", *_IDS, *_TEXTS, *_FLAGS)
        if settings.keys() != set(names):
            raise TokenizerError(f"{place} must have {', '.join(names)} and nothing else.")
        pieces = settings["vocabulary"]
        if not isinstance(pieces, list) or not all(isinstance(each, str) for each in pieces):
            raise TokenizerError(f"{place}: the vocabulary must be a list of pieces.")
        wrong = [name for name in _TEXTS if not isinstance(settings[name], str)]
        wrong += [name for name in _FLAGS if type(settings[name]) is not bool]
        wrong += [name for name in _IDS if not _is_id(settings[name])]
        if wrong:
            told = str(settings[wrong[0]])[:40]
            raise TokenizerError(f"{place}: {wrong[0]!r} can't be {told!r}.")
        self._settings = settings
        self._pieces: list[str] = pieces
        # Of a piece that is there twice the last id counts, as in KerasHub.
        self._ids = {piece: i for i, piece in enumerate(pieces)}
        if settings["oov_token"] not in self._ids:
            raise TokenizerError(
                f"{place}: the vocabulary has no {settings['oov_token'][:40]!r}, the piece of what "
                "is unknown."
            )
        self.pad_id, self.eos_id = (settings[name] for name in _IDS)
        if self.pad_id == self.eos_id:
            raise TokenizerError(f"{place}: padding and the end have the same id {self.pad_id}.")
        self.unk_id = self._ids[settings["oov_token"]]
        self._ends = frozenset({self.pad_id, self.eos_id})
        self._suffix: str = settings["suffix_indicator"]
        self._longest = max(map(len, pieces), default=0)
        self._every = _with(range(len(pieces)), self._ends)

    @property
    def source_ids(self) -> Collection[int]:
        """The ids that `encode` gives, padding among them."""
        return self._every

    @property
    def target_ids(self) -> Collection[int]:
        """The ids that `decode` knows."""
        return self._every

    def encode(self, text: str) -> list[int]:
        """Token ids of `text` and the end token."""
        ids = [i for word in self._words(as_text(text)) for i in self._word_ids(word)]
        return [*(i for i in ids if i not in self._ends), self.eos_id]

    def _words(self, text: str) -> Iterator[str]:
        settings = self._settings
        if settings["strip_accents"]:
            text = unicodedata.normalize("NFD", text)
            text = "".join(c for c in text if unicodedata.category(c) != "Mn")
        for word in _split(text, settings["split_on_cjk"]):
            yield _folded(word) if settings["lowercase"] else word

    def _word_ids(self, word: str) -> list[int]:
        if len(word) > _LONGEST_WORD or len(word.encode()) > _LONGEST_WORD:
            return [self.unk_id]
        found: list[int] = []
        start, before = 0, ""
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                i = self._ids.get(before + word[start:end])
                if i is not None:
                    break
            else:
                return [self.unk_id]
            found.append(i)
            start, before = end, self._suffix
        return found

    def decode(self, ids: Iterable[int]) -> str:
        """Text of target token ids, without padding and end."""
        words: list[str] = []
        for i in map(int, ids):
            if i in self._ends:
                continue
            if not 0 <= i < len(self._pieces):
                raise ValueError(f"Token id {i} is not in the target vocabulary.")
            piece = self._pieces[i]
            if words and piece.startswith(self._suffix) and len(piece) > len(self._suffix):
                words[-1] += piece[len(self._suffix) :]
            else:
                words.append(piece)
        return " ".join(words).strip()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the vocabulary and its settings into an existing folder."""
        text = json.dumps(self._settings, ensure_ascii=False)
        (Path(folder) / FILE).write_bytes(as_text(text).encode())


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST_IDS


def _split(text: str, on_cjk: bool) -> Iterator[str]:
    """Words, and punctuation and Chinese characters each for itself; spaces are gone."""
    start = 0
    for at, char in enumerate(text):
        kind = unicodedata.category(char)
        is_mark = char in _ASCII_MARKS or kind[0] == "P" or (on_cjk and _is_in(char, _CHINESE))
        if not is_mark and char not in _SPACES and kind not in ("Cc", "Cf"):
            continue
        if at > start:
            yield text[start:at]
        if is_mark:
            yield char
        start = at + 1
    if start < len(text):
        yield text[start:]


def _folded(word: str) -> str:
    """NFKC_Casefold of Unicode."""
    if word.isascii():
        return word.lower()
    word = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())
    return "".join(c for c in word if not _is_in(c, _IGNORED))


def _is_in(char: str, ranges: Iterable[tuple[int, int]]) -> bool:
    code = ord(char)
    return any(first <= code <= last for first, last in ranges)


def _with(ids: range, more: Iterable[int]) -> Collection[int]:
    beyond = sorted(i for i in more if i not in ids)
    return [*ids, *beyond] if beyond else ids
