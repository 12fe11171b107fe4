"""`PieceTokenizer`: what makes pieces of a text, and lists of tokens that say their ids."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from keras_int8nmt._untrusted import json_object
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.sentencepiece_model import open_sentencepiece
from keras_int8nmt.tokenizers.subword_nmt import BytePairEncoding
from keras_int8nmt.tokenizers.vocabulary import as_text, read_file

MARK = "pieces.json"
SPM, TARGET_SPM = "pieces.spm", "pieces.target.spm"
BPE = "pieces.bpe"
FILES = (MARK, SPM, TARGET_SPM, BPE)
_SPECIAL = ("unk", "bos", "eos", "start")
_FLAGS = ("add_bos", "add_eos")
# As Moses has rules for, or would have.
_LANGUAGE = re.compile("[A-Za-z_-]{1,20}")


class Pieces(Protocol):
    """What makes pieces of a text, and a text of pieces."""

    def encode(self, text: str) -> list[str]: ...

    def decode(self, pieces: Iterable[str]) -> str: ...


class SentencePieces:
    """The pieces of a SentencePiece model, or of one for sources and one for translations."""

    def __init__(self, source: Any, target: Any) -> None:
        self._source, self._target = source, target

    def encode(self, text: str) -> list[str]:
        pieces: list[str] = self._source.encode(as_text(text), out_type=str)
        return pieces

    def decode(self, pieces: Iterable[str]) -> str:
        text: str = self._target.decode_pieces(list(pieces))
        return text.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").strip()


class Spaced:
    """A text that is its pieces already, with spaces between."""

    def encode(self, text: str) -> list[str]:
        return [piece for piece in as_text(text).strip("\r\n ").split(" ") if piece]

    def decode(self, pieces: Iterable[str]) -> str:
        return " ".join(pieces)


class Characters:
    """Each character but spaces is a piece; a translation has none between."""

    def encode(self, text: str) -> list[str]:
        return [character for character in as_text(text) if character not in " \r\n"]

    def decode(self, pieces: Iterable[str]) -> str:
        return "".join(pieces)


def _sentencepieces(folder: Path, files: Mapping[str, bytes], _: Mapping[str, Any]) -> Pieces:
    source = open_sentencepiece(folder / SPM, files[SPM])
    if TARGET_SPM not in files:
        return SentencePieces(source, source)
    return SentencePieces(source, open_sentencepiece(folder / TARGET_SPM, files[TARGET_SPM]))


def _codes(folder: Path, files: Mapping[str, bytes], _: Mapping[str, Any]) -> BytePairEncoding:
    return BytePairEncoding(files[BPE], folder / BPE)


def _moses(folder: Path, files: Mapping[str, bytes], content: Mapping[str, Any]) -> Pieces:
    from keras_int8nmt.tokenizers.moses import MosesPieces

    languages = content.get("languages")
    if (
        not isinstance(languages, list | tuple)
        or len(languages) != 2
        or not all(isinstance(each, str) and _LANGUAGE.fullmatch(each) for each in languages)
    ):
        raise TokenizerError(f"{str(folder / MARK)!r}: 'languages' must be two codes of languages.")
    return MosesPieces(_codes(folder, files, content), *languages)


_Maker = Callable[[Path, Mapping[str, bytes], Mapping[str, Any]], Pieces]
# What makes pieces, by its name: the file that it needs, and how it is made.
_KINDS: dict[str, tuple[str | None, _Maker]] = {
    "sentencepiece": (SPM, _sentencepieces),
    "subword-nmt": (BPE, _codes),
    "moses subword-nmt": (BPE, _moses),
    "spaces": (None, lambda folder, files, content: Spaced()),
    "characters": (None, lambda folder, files, content: Characters()),
}


class PieceTokenizer:
    """Pieces of a text and their ids by lists of tokens, as CTranslate2 has them.

    Args:
        folder: Has `pieces.json`, an object of

            - `pieces`: what makes them. `"sentencepiece"`: the model in `pieces.spm`, and
              `pieces.target.spm` where that is another one. `"subword-nmt"`: the codes in
              `pieces.bpe`. `"moses subword-nmt"`: likewise, for words by Moses' rules, which
              `sacremoses` knows, for the two `languages`. `"spaces"`: a text is its pieces with
              spaces between, and a translation likewise; it may name special tokens.
              `"characters"`: each character but spaces is a piece, and a translation has none.
            - `source` and `target`: the tokens, by their ids; `target` is null where they are the
              same. A token that is there twice has its first id.
            - `unk`, `bos`, `eos`, `start`: the special tokens.
            - `add_bos`, `add_eos`: whether a source begins with `bos` and ends with `eos`.
            - `pad_id`: padding, one of the tokens or an id after them.
            - `prefix`, where it is there: a token that begins each translation and is no text.

    Attributes:
        pad_id, eos_id, unk_id: Ids of special tokens, the last of the source.
        source_eos: Whether a source ends with `eos_id`.
        pieces: The name of what makes pieces.
        files: The files' names and contents, for saving a copy.

    Pieces that the vocabulary lacks are `unk`.

    Raises:
        TokenizerError: Names a missing or damaged file.

    Example:

        >>> tokenizer = PieceTokenizer(folder)
        >>> tokenizer.encode("\u0622\u062a\u0632")
        [26, 11, 19]
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        folder = Path(folder)
        files = {MARK: read_file(folder / MARK)}
        content = json_object(folder / MARK, files[MARK], TokenizerError)
        needed, _ = _kind(folder, content)
        for name in FILES[1:]:
            if name == needed or os.path.lexists(folder / name):
                files[name] = read_file(folder / name)
        self._set(folder, files, content)

    @classmethod
    def of_tokens(
        cls, content: Mapping[str, Any], files: Mapping[str, bytes], place: Path
    ) -> PieceTokenizer:
        """A tokenizer of what another program has in other files.

        Args:
            content: What `pieces.json` would hold.
            files: The other files, by the names that they have here, and their contents.
            place: Where they are from, for messages.
        """
        told = json.dumps(dict(content), ensure_ascii=False).encode()
        made = cls.__new__(cls)
        made._set(place, {MARK: told, **files}, content)
        return made

    def _set(self, folder: Path, files: dict[str, bytes], content: Mapping[str, Any]) -> None:
        self.files, self._place = files, folder / MARK
        _, make = _kind(folder, content)
        self.pieces: str = content["pieces"]
        self._pieces = make(folder, files, content)
        source = self._tokens(content, "source")
        target = source if content.get("target") is None else self._tokens(content, "target")
        unk, bos, eos, start = (self._told(content, name, str) for name in _SPECIAL)
        add_bos, add_eos = (self._told(content, name, bool) for name in _FLAGS)
        self.pad_id: int = self._told(content, "pad_id", int)
        if not 0 <= self.pad_id < 1 << 31:
            raise self._wrong(f"'pad_id' is {self.pad_id}")
        ids, target_ids = _ids(source), _ids(target)
        for name, token, known, wanted in (
            ("unk", unk, ids, True),
            ("unk", unk, target_ids, True),
            ("eos", eos, target_ids, True),
            ("bos", bos, ids, add_bos),
            ("eos", eos, ids, add_eos),
        ):
            if wanted and token not in known:
                raise self._wrong(f"{name!r} is {token[:100]!r}, which is no token")
        self.eos_id, self.unk_id = target_ids[eos], ids[unk]
        self._before = [ids[bos]] if add_bos else []
        self._after = [ids[eos]] if add_eos else []
        # Two vocabularies may have an end each.
        self.source_eos = self._after == [self.eos_id]
        self._source_size, self._target = len(source), target
        self._ids, self._target_ids, self._target_unk = ids, target_ids, target_ids[unk]
        self._hidden = {self.eos_id, self.pad_id, *(target_ids.get(t, -1) for t in (bos, start))}
        if content.get("prefix") is not None:
            prefix = self._told(content, "prefix", str)
            if prefix not in target_ids:
                raise self._wrong(f"'prefix' is {prefix[:100]!r}, which is no token")
            self._hidden.add(target_ids[prefix])
        self._hidden.discard(self._target_unk)
        if self.pieces != "spaces":
            # Characters of a text never make a special token.
            for known, tokens in ((ids, source), (target_ids, target)):
                for token in {bos, eos, start, *tokens[self.pad_id : self.pad_id + 1]}:
                    known.pop(token, None)

    def _tokens(self, content: Mapping[str, Any], name: str) -> Sequence[str]:
        tokens = content.get(name)
        if not isinstance(tokens, list | tuple) or not all(type(t) is str for t in tokens):
            raise self._wrong(f"{name!r} must be a list of tokens")
        return tokens

    def _told(self, content: Mapping[str, Any], name: str, kind: type) -> Any:
        value = content.get(name)
        if type(value) is not kind:
            raise self._wrong(f"{name!r} must be of type {kind.__name__}")
        return value

    def _wrong(self, what: str) -> TokenizerError:
        return TokenizerError(f"{str(self._place)!r}: {what}.")

    @property
    def source_ids(self) -> Collection[int]:
        """The ids that `encode` gives, and padding."""
        return _with_padding(self._source_size, self.pad_id)

    @property
    def target_ids(self) -> Collection[int]:
        """The ids that `decode` knows, and padding."""
        return _with_padding(len(self._target), self.pad_id)

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, with the end token where the model's sources have one."""
        ids = [self._ids.get(piece, self.unk_id) for piece in self._pieces.encode(text)]
        return [*self._before, *ids, *self._after] if ids else []

    def encode_target(self, text: str) -> list[int]:
        """Token ids of a translation and the end token: what a decoder learns to produce."""
        get, unknown = self._target_ids.get, self._target_unk
        return [*(get(piece, unknown) for piece in self._pieces.encode(text)), self.eos_id]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of target token ids, without special tokens but for the unknown one."""
        pieces = []
        for i in map(int, ids):
            if i in self._hidden:
                continue
            if not 0 <= i < len(self._target):
                raise ValueError(f"Token id {i} is not in the target vocabulary.")
            pieces.append(self._target[i])
        return self._pieces.decode(pieces)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the files of this tokenizer into an existing folder."""
        for name, content in self.files.items():
            (Path(folder) / name).write_bytes(content)


def _kind(folder: Path, content: Mapping[str, Any]) -> tuple[str | None, _Maker]:
    name = content.get("pieces")
    if not isinstance(name, str) or name not in _KINDS:
        raise TokenizerError(
            f"{str(folder / MARK)!r}: 'pieces' must be one of {', '.join(_KINDS)}; it is "
            f"{ascii(name)[:100]}."
        )
    return _KINDS[name]


def _ids(tokens: Sequence[str]) -> dict[str, int]:
    """The id of each token: the first of those that it has."""
    ids: dict[str, int] = {}
    for i, token in enumerate(tokens):
        ids.setdefault(token, i)
    return ids


def _with_padding(count: int, pad_id: int) -> range:
    # Between the last token and padding are ids of no meaning, which a model never produces.
    return range(max(count, pad_id + 1))
