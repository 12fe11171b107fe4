"""The vocabularies of a raw Marian model, with the one id that Marian has not: padding's.

Marian masks padding and begins a translation with zeros in place of a token. Here both are the
token `<pad>`, whose embeddings are zeros. Its id is the number of ids of the smaller vocabulary, so
that both have it; in a larger one, the ids from there on are one more than in its file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.raw_marian_files import RawFiles, read_text
from keras_int8nmt.importers.weights_file import short
from keras_int8nmt.tokenizers.vocab_yml import parse_vocab_yml

# Of each token its name, what Nematus called it, and the id that it has there in any case.
_SPECIAL = {"eos_token": ("</s>", "eos", 0), "unk_token": ("<unk>", "UNK", 1)}
_PAD = "<pad>"


class Vocabularies(NamedTuple):
    """The ids of a model's pieces.

    Attributes:
        source, target: Pieces and their ids, padding's among them.
        tokens: The names of the end, the unknown and padding, as `tokenizer_config.json` has them.
        eos_id, unk_id: Their ids.
    """

    source: dict[str, int]
    target: dict[str, int]
    tokens: dict[str, str]
    eos_id: int
    unk_id: int


def with_padding(i: int, pad: int) -> int:
    """The id here of what has the id `i` in Marian's file."""
    return i + (i >= pad)


def read_vocabularies(files: RawFiles, pad: int) -> Vocabularies | None:
    """The vocabularies of a model; None where there are none.

    Args:
        files: The model's files.
        pad: The id of padding.

    Raises:
        MarianFormatError: where there are other ends of a sentence in the two.
        TokenizerError: naming the file that is none.
    """
    if not files.vocabularies:
        return None
    read = {name: _read(files, name) for name in dict.fromkeys(files.vocabularies)}
    special = {name: _special(files, name, ids) for name, ids in read.items()}
    source, target = (special[name] for name in files.vocabularies)
    if source != target:
        raise MarianFormatError(
            f"{files.place.name!r} has the ids {source} of the end and the unknown in "
            f"{short(files.vocabularies[0])} and {target} in {short(files.vocabularies[1])}; that "
            "is not supported."
        )
    sides = [{p: with_padding(i, pad) for p, i in read[n].items()} for n in files.vocabularies]
    tokens = {}
    wanted = dict(zip(_SPECIAL, (with_padding(i, pad) for i in source), strict=True))
    for name, i in [*wanted.items(), ("pad_token", pad)]:
        base = _PAD if name == "pad_token" else _SPECIAL[name][0]
        tokens[name] = _name(sides, i, base)
    return Vocabularies(sides[0], sides[1], tokens, wanted["eos_token"], wanted["unk_token"])


def tokenizer_files(found: Vocabularies) -> dict[str, bytes]:
    """What a folder of Hugging Face's layout holds of them, by the names of its files."""

    def as_json(content: Mapping[str, Any]) -> bytes:
        return json.dumps(content, ensure_ascii=False).encode()

    files = {"vocab.json": as_json(found.source), "tokenizer_config.json": as_json(found.tokens)}
    if found.target != found.source:
        files["target_vocab.json"] = as_json(found.target)
    return files


def _read(files: RawFiles, name: str) -> dict[str, int]:
    path, content = files.place.path(name), read_text(files.place, name)
    if name.endswith(".spm"):
        return _pieces_of(path, content)
    if name.endswith((".yml", ".yaml", ".json")):
        return parse_vocab_yml(path, content)
    what = "factored" if name.endswith(".fsv") else "of another kind"
    raise MarianFormatError(
        f"{files.place.name!r} has the vocabulary {short(name)}, {what}; only .yml, .json and .spm "
        "are supported."
    )


def _pieces_of(path: Path, content: bytes) -> dict[str, int]:
    from keras_int8nmt.tokenizers.sentencepiece_model import open_sentencepiece

    model = open_sentencepiece(path, content)
    return {model.id_to_piece(i): i for i in range(model.get_piece_size())}


def _special(files: RawFiles, name: str, ids: Mapping[str, int]) -> tuple[int, ...]:
    """The ids of the end and the unknown, found as Marian finds them."""
    pieces = {i: piece for piece, i in ids.items()}
    found = []
    for token, old, i in _SPECIAL.values():
        if i <= max(pieces) and pieces.get(i, "") in ("", old):
            found.append(i)
        elif token in ids:
            found.append(ids[token])
        else:
            raise MarianFormatError(
                f"{files.place.name!r} has no piece {token!r} in its vocabulary {short(name)}."
            )
    return tuple(found)


def _name(sides: list[dict[str, int]], i: int, base: str) -> str:
    """What the id is called in both; a name that neither has where it has none."""
    there = {piece for ids in sides for piece, other in ids.items() if other == i}
    if len(there) == 1 and all(ids.get(next(iter(there))) == i for ids in sides):
        return there.pop()
    name = base
    while any(name in ids for ids in sides):
        name += "_"
    for ids in sides:
        for piece in [piece for piece, other in ids.items() if other == i]:
            del ids[piece]
        ids[name] = i
    return name
