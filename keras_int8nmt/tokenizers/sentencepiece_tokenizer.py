"""`SentencePieceTokenizer`: SentencePiece models whose own ids are the vocabulary."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from keras_int8nmt._untrusted import json_object
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.sentencepiece_model import open_sentencepiece
from keras_int8nmt.tokenizers.vocabulary import as_text, read_file

_SOURCE, _TARGET, _SETTINGS = "source.model", "target.model", "sentencepiece.json"
FILES = (_SOURCE, _TARGET, _SETTINGS)
_MOST_IDS = 1 << 31


class SentencePieceTokenizer:
    """A SentencePiece model, unigram or BPE, whose own ids are the model's.

    Args:
        source: A `.model` file, its bytes, or a live `SentencePieceProcessor`, of which the model
            is taken and no option such as `add_eos`.
        target: Likewise of the target, where that has another one.
        pad_id: The id of padding; None: the SentencePiece model's. One that it trains by default
            has none. It may be an id beyond its pieces.
        eos_id: The id of the end; None: the SentencePiece model's.
        add_bos: Whether a source begins with the model's begin token.

    Attributes:
        pad_id, eos_id, unk_id: Ids of the special tokens.

    Raises:
        TokenizerError: Names a file that is missing or no SentencePiece model, and says what to
            give where a model has no id for padding or the end.

    Example:

        >>> tokenizer = SentencePieceTokenizer("spm.model", pad_id=0)
        >>> tokenizer.decode(tokenizer.encode("Good morning."))
        'Good morning.'
    """

    def __init__(
        self,
        source: Any,
        target: Any = None,
        *,
        pad_id: int | None = None,
        eos_id: int | None = None,
        add_bos: bool = False,
    ) -> None:
        self._models = {_SOURCE: _content(source)}
        if target is not None:
            self._models[_TARGET] = _content(target)
        place = _place(source)
        self._source = self._target = open_sentencepiece(place, self._models[_SOURCE])
        if target is not None:
            self._target = open_sentencepiece(_place(target), self._models[_TARGET])
        self.eos_id = _special(place, "eos_id", eos_id, self._source.eos_id())
        self.pad_id = _special(place, "pad_id", pad_id, self._source.pad_id())
        if self.pad_id == self.eos_id:
            raise TokenizerError(f"{place}: padding and the end have the same id {self.pad_id}.")
        if target is not None and eos_id is None and self._target.eos_id() != self.eos_id:
            raise TokenizerError(
                f"The end has the id {self.eos_id} in {place} and {self._target.eos_id()} in "
                f"{_place(target)}: a model has one id for both."
            )
        self.unk_id: int = self._source.unk_id()
        self._bos: list[int] = []
        if add_bos:
            self._bos = [self._source.bos_id()]
            if self._bos[0] < 0:
                raise TokenizerError(f"{place} has no begin token, which `add_bos` asks for.")
        self._not_shown = {self.pad_id, self.eos_id, *self._bos}
        # A user-defined piece may be one that a text has in it.
        self._never = {
            side: frozenset(
                i
                for i in (self.pad_id, self.eos_id)
                if i < model.get_piece_size() and not model.is_control(i)
            )
            for side, model in ((_SOURCE, self._source), (_TARGET, self._target))
        }

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> SentencePieceTokenizer:
        """What `save` wrote, or a folder with a `source.model` alone.

        Raises:
            TokenizerError: naming a file that is missing or damaged.
        """
        folder = Path(folder)
        target, place = folder / _TARGET, folder / _SETTINGS
        settings: dict[str, Any] = {}
        if os.path.lexists(place):
            settings = json_object(place, read_file(place), TokenizerError)
        for name, value in settings.items():
            is_id = name in ("pad_id", "eos_id") and type(value) is int and 0 <= value < _MOST_IDS
            if not is_id and not (name == "add_bos" and type(value) is bool):
                raise TokenizerError(
                    f"{str(place)!r}: {name[:40]!r} is {str(value)[:40]}; known are pad_id and "
                    "eos_id, ids, and add_bos, true or false."
                )
        return cls(folder / _SOURCE, target if os.path.lexists(target) else None, **settings)

    @property
    def source_ids(self) -> Collection[int]:
        """The ids that `encode` gives, padding among them."""
        return _ids(self._source, self.pad_id, self.eos_id)

    @property
    def target_ids(self) -> Collection[int]:
        """The ids that `decode` knows."""
        return _ids(self._target, self.pad_id, self.eos_id)

    def encode(self, text: str) -> list[int]:
        """Token ids of `text` and the end token."""
        return [*self._bos, *self._to_ids(text, self._source, self._never[_SOURCE]), self.eos_id]

    def encode_target(self, text: str) -> list[int]:
        """Token ids of a translation and the end token: what a decoder learns to produce."""
        return [*self._to_ids(text, self._target, self._never[_TARGET]), self.eos_id]

    def _to_ids(self, text: str, model: Any, never: frozenset[int]) -> list[int]:
        ids: list[int] = model.encode(as_text(text), out_type=int)
        return ids if never.isdisjoint(ids) else [self.unk_id if i in never else i for i in ids]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of target token ids, without padding, begin and end tokens."""
        shown = [i for i in map(int, ids) if i not in self._not_shown]
        size = self._target.get_piece_size()
        for i in shown:
            if not 0 <= i < size:
                raise ValueError(f"Token id {i} is not in the target vocabulary.")
        text: str = self._target.decode(shown)
        return text.strip()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes models and settings into an existing folder."""
        settings = {"pad_id": self.pad_id, "eos_id": self.eos_id, "add_bos": bool(self._bos)}
        files = {**self._models, _SETTINGS: json.dumps(settings).encode()}
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)


def _content(model: Any) -> bytes:
    if isinstance(model, bytes):
        return model
    if isinstance(model, str | os.PathLike):
        return read_file(Path(model))
    serialized: bytes = model.serialized_model_proto()
    return serialized


def _place(model: Any) -> str:
    if isinstance(model, str | os.PathLike):
        return repr(os.fspath(model))
    return f"the {type(model).__name__} given"


def _special(place: str, name: str, given: int | None, own: int) -> int:
    if given is not None:
        if type(given) is not int or not 0 <= given < _MOST_IDS:
            raise ValueError(f"`{name}` must be an id; received {given!r}.")
        return given
    if own < 0:
        raise TokenizerError(
            f"{place} has no {name}: SentencePiece trained it with {name}=-1. Give "
            f"`SentencePieceTokenizer(..., {name}=...)` that of the translation model."
        )
    return own


def _ids(model: Any, *special: int) -> Collection[int]:
    size = model.get_piece_size()
    beyond = sorted({i for i in special if i >= size})
    return [*range(size), *beyond] if beyond else range(size)


def of_processor(processor: Any, pad_id: int | None, eos_id: int | None) -> SentencePieceTokenizer:
    """The tokenizer of a live SentencePieceProcessor.

    Args:
        processor: The processor.
        pad_id, eos_id: The model's, for where the processor has none.

    Raises:
        TokenizerError: where that would be one of its pieces.
    """
    ids: dict[str, Any] = {}
    for name, given, own in (
        ("pad_id", pad_id, processor.pad_id()),
        ("eos_id", eos_id, processor.eos_id()),
    ):
        if own >= 0 or given is None:
            continue
        if given < processor.get_piece_size() and not (
            processor.is_control(given) or processor.is_unknown(given)
        ):
            piece = processor.id_to_piece(given)
            raise TokenizerError(
                f"The SentencePieceProcessor has no {name}, and the model's, {given}, is its piece "
                f"{piece!r}. Where that is meant, give `SentencePieceTokenizer(processor, "
                f"{name}={given})`."
            )
        ids[name] = given
    return SentencePieceTokenizer(processor, **ids)
