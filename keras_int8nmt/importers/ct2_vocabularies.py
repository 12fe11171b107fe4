"""The tokens of a CTranslate2 folder: its vocabularies, and which of them are special."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from keras_int8nmt._untrusted import inside, json_object, json_value, read_bytes
from keras_int8nmt.importers.ct2_file import NAME as MODEL
from keras_int8nmt.importers.ct2_file import CTranslate2File
from keras_int8nmt.importers.errors import CTranslate2FormatError
from keras_int8nmt.importers.weights_file import short

CONFIG = "config.json"
_SHARED, _SOURCE, _TARGET = "shared_vocabulary", "source_vocabulary", "target_vocabulary"
# The last is that of a language model.
_NAMES = (_SHARED, _SOURCE, _TARGET, "vocabulary")
# Later releases write the first.
_ENDINGS = (".json", ".txt")
VOCABULARIES = tuple(f"{name}{ending}" for name in _NAMES for ending in _ENDINGS)
_MOST_CONFIG = 1 << 20
# A vocabulary of a million tokens has a third of it.
_MOST_BYTES = 64 << 20
# Before this version of the layout the flags are variables of the file.
_FLAGS_IN_CONFIG = 6


class Tokens(NamedTuple):
    """What the ids of a model mean, and what is put around a sentence.

    Attributes:
        source, target: The tokens, by their ids; one object where there is one vocabulary.
        unk, bos, eos: Special tokens; the target has `eos`, both have `unk`.
        start: What the decoder is fed first.
        add_source_bos, add_source_eos: Whether a source begins with `bos` and ends with `eos`.
        layer_norm_epsilon: As config.json has it, or None.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    unk: str
    bos: str
    eos: str
    start: str
    add_source_bos: bool
    add_source_eos: bool
    layer_norm_epsilon: float | None

    @property
    def shared(self) -> bool:
        return self.source is self.target


def is_ctranslate2(folder: Path) -> bool:
    """Whether a folder holds a model of CTranslate2, of translation or not."""
    return (folder / MODEL).is_file() and any((folder / name).is_file() for name in VOCABULARIES)


def read_tokens(folder: Path, file: CTranslate2File) -> Tokens:
    """The tokens of a folder.

    Raises:
        CTranslate2FormatError: naming the file that is missing or damaged, and the setting that is
            none or not supported.
    """
    config = _read_config(folder)
    told = config if file.version >= _FLAGS_IN_CONFIG else _told_by_variables(file)
    place = folder / (CONFIG if told is config else MODEL)
    words = {}
    for name, default in (("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")):
        words[name] = _of(told, name, str, default, place)
    unk, bos, eos = words.values()
    start = told.get("decoder_start_token", bos)
    if start is None:
        raise CTranslate2FormatError(
            f"{str(place)!r} leaves the decoder's first token to the caller of each translation, "
            "which is not supported."
        )
    start = _of(told, "decoder_start_token", str, bos, place)
    epsilon = config.get("layer_norm_epsilon")
    if epsilon is not None and type(epsilon) not in (int, float):
        raise CTranslate2FormatError(
            f"{str(folder / CONFIG)!r}: 'layer_norm_epsilon' must be a number; it is "
            f"{short(epsilon)}."
        )
    source, target = _read_vocabularies(folder, unk)
    for token in (eos, start):
        if token not in target:
            raise CTranslate2FormatError(
                f"The target vocabulary of {str(folder)!r} has no token {short(token)}."
            )
    add_bos, add_eos = (_of(told, f"add_source_{x}", bool, False, place) for x in ("bos", "eos"))
    for token, added in ((bos, add_bos), (eos, add_eos)):
        if added and token not in source:
            raise CTranslate2FormatError(
                f"The source vocabulary of {str(folder)!r} has no token {short(token)}, which is "
                "put to each source."
            )
    return Tokens(source, target, unk, bos, eos, start, add_bos, add_eos, epsilon)


def _told_by_variables(file: CTranslate2File) -> dict[str, Any]:
    """What `config.json` tells since version 6, by the same names."""
    told: dict[str, Any] = {}
    for name in ("unk_token", "bos_token", "eos_token"):
        if (text := file.text(name)) is not None:
            told[name] = text
    for flag, name in (
        ("with_source_bos", "add_source_bos"),
        ("with_source_eos", "add_source_eos"),
    ):
        told[name] = bool(file.number(flag))
    bos = file.number("with_target_bos")
    if file.number("user_decoder_start_tokens"):
        told["decoder_start_token"] = None
    elif bos is not None and not bos:
        told["decoder_start_token"] = told.get("eos_token", "</s>")
    return told


def _of(told: dict[str, Any], name: str, kind: type, default: Any, place: Path) -> Any:
    value = told.get(name, default)
    if type(value) is not kind:
        raise CTranslate2FormatError(
            f"{str(place)!r}: {name!r} must be {'text' if kind is str else 'true or false'}; it is "
            f"{short(value)}."
        )
    return value


def _read_config(folder: Path) -> dict[str, Any]:
    path = inside(folder, CONFIG, CTranslate2FormatError)
    if not os.path.lexists(path):
        return {}
    content = read_bytes(path, _MOST_CONFIG, CTranslate2FormatError)
    return json_object(path, content, CTranslate2FormatError)


def _read_vocabularies(folder: Path, unk: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    shared = _find(folder, _SHARED)
    if shared is not None:
        tokens = _read_vocabulary(shared, unk)
        return tokens, tokens
    found = []
    for name in (_SOURCE, _TARGET):
        path = _find(folder, name)
        if path is None:
            raise CTranslate2FormatError(f"{str(folder)!r} has no {name}.json and no {name}.txt.")
        found.append(_read_vocabulary(path, unk))
    return found[0], found[1]


def _find(folder: Path, name: str) -> Path | None:
    for ending in _ENDINGS:
        path = inside(folder, name + ending, CTranslate2FormatError)
        if os.path.lexists(path):
            return path
    return None


def _read_vocabulary(path: Path, unk: str) -> tuple[str, ...]:
    content = read_bytes(path, _MOST_BYTES, CTranslate2FormatError)
    if path.suffix == ".json":
        tokens = json_value(path, content, CTranslate2FormatError)
        if not isinstance(tokens, list) or not all(type(token) is str for token in tokens):
            raise CTranslate2FormatError(f"{str(path)!r} must hold a JSON list of tokens.")
    else:
        try:
            tokens = content.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise CTranslate2FormatError(f"{str(path)!r} is no UTF-8 text: {error}.") from error
        if tokens[-1] == "":
            tokens.pop()
        # Where all lines have one it belongs to their ends, and else to a token.
        if tokens and all(token.endswith("\r") for token in tokens):
            tokens = [token[:-1] for token in tokens]
    try:
        "".join(tokens).encode("utf-8")
    except UnicodeEncodeError as error:
        raise CTranslate2FormatError(
            f"{str(path)!r} has a token that is no text: {error}."
        ) from error
    # As CTranslate2 does.
    return tuple(tokens) if unk in tokens else (*tokens, unk)
