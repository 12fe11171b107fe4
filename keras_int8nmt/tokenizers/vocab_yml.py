"""`vocab.yml` of Marian: pieces and their ids, a line each, every one of them kept.

A library for YAML takes pieces such as `y`, `null`, `1e3` or `~` for something else than text, and
loses them. What Marian writes is one mapping of texts to numbers, and that is what is read here.
"""

from __future__ import annotations

import re
from pathlib import Path

from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.vocabulary import parse_vocabulary

_ID = re.compile(r"\d{1,10}")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPES = {
    **{"0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f"},
    **{"r": "\r", "e": "\x1b", " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0"},
    **{"L": "\u2028", "P": "\u2029"},
}


def parse_vocab_yml(path: Path, content: bytes) -> dict[str, int]:
    """Pieces and their ids, no id twice; of a piece that is there twice the first counts.

    Args:
        path: Of the file, for messages.
        content: What it holds: YAML as Marian writes it, or one JSON object.

    Raises:
        TokenizerError: names the file and the line that is none.
    """
    if content.lstrip()[:1] == b"{":
        return parse_vocabulary(path, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{str(path)!r} is no UTF-8 text: {error}.") from error
    ids: dict[str, int] = {}
    pieces: dict[int, str] = {}
    # Not `splitlines`, which ends a line at characters that pieces are made of.
    lines = enumerate(text.split("\n"), start=1)
    for number, line in lines:
        line = line.rstrip("\r")
        if not line.strip(" \t") or line.startswith("#") or line == "---":
            continue
        if line.startswith("? "):
            # How YAML writes what is longer than 1,024 characters.
            line = f"{line[2:]}{next(lines, (0, ''))[1]}".rstrip("\r")
        piece, _, told = line.rpartition(":")
        told = told.strip(" \t")
        if not _ID.fullmatch(told):
            raise _no_entry(path, number, line)
        try:
            piece, i = yaml_text(piece), int(told)
        except ValueError as error:
            raise _no_entry(path, number, line) from error
        if i >= 1 << 31 or pieces.setdefault(i, piece) != piece:
            raise TokenizerError(
                f"{str(path)!r}, line {number}: {_short(line)} has an id that "
                + ("no vocabulary has." if i >= 1 << 31 else f"{_short(pieces[i])} has, too.")
            )
        ids.setdefault(piece, i)
    if not ids:
        raise TokenizerError(f"{str(path)!r} has no pieces.")
    return ids


def yaml_text(scalar: str) -> str:
    """The text that a scalar of YAML on one line stands for, whatever else YAML takes it for.

    Raises:
        ValueError: where its quotes do not end, or something follows them.
    """
    scalar = scalar.strip(" \t")
    quote = scalar[:1]
    if quote not in ('"', "'") or scalar == quote:
        return scalar
    inner = scalar[1:-1]
    if len(scalar) < 2 or scalar[-1] != quote:
        raise ValueError("a quotation does not end")
    if quote == "'":
        if "'" in inner.replace("''", ""):
            raise ValueError("a quotation ends too soon")
        return inner.replace("''", "'")
    if '"' in _ESCAPE.sub("", inner) or _ESCAPE.sub("", inner).endswith("\\"):
        raise ValueError("a quotation ends elsewhere")
    return _ESCAPE.sub(_unescape, inner)


def _unescape(found: re.Match[str]) -> str:
    what = found.group(1)
    if len(what) > 1:
        code = int(what[1:], 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError("there is no such character")
        return chr(code)
    if what not in _ESCAPES:
        raise ValueError("there is no such escape")
    return _ESCAPES[what]


def _no_entry(path: Path, number: int, line: str) -> TokenizerError:
    return TokenizerError(
        f"{str(path)!r}, line {number}: {_short(line)} is no entry of a vocabulary, `piece: id`."
    )


def _short(text: str) -> str:
    return ascii(text[:60])
