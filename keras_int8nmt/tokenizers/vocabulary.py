"""What the files of several tokenizers are made of: pieces with their ids, and special tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_int8nmt._untrusted import json_object, read_bytes
from keras_int8nmt.tokenizers.errors import TokenizerError

CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
# A vocabulary of a million pieces has a third of it.
_MOST_BYTES = 64 << 20


def read_file(path: Path) -> bytes:
    """The content of one file of a tokenizer; TokenizerError where it can't be had."""
    return read_bytes(path, _MOST_BYTES, TokenizerError)


def parse_vocabulary(path: Path, content: bytes) -> dict[str, int]:
    """Pieces and their ids, from JSON: no id is there twice.

    Args:
        path: Of the file, for the message.
        content: What it holds.
    """
    ids = json_object(path, content, TokenizerError)
    for piece, i in ids.items():
        if type(i) is not int or not 0 <= i < 1 << 31:
            raise TokenizerError(f"{path}: the id of piece {piece!r} is {i!r}.")
    if len(set(ids.values())) != len(ids):
        raise TokenizerError(f"{path} gives one id to several pieces.")
    return ids


def special_tokens(path: Path, config: dict[str, Any]) -> dict[str, str]:
    """The pieces that are the end, the unknown and padding, by the names of `SPECIAL_TOKENS`.

    Args:
        path: Of the settings, for the message.
        config: Their content, which may give them other names.
    """
    tokens = {}
    for name, default in SPECIAL_TOKENS.items():
        token = config.get(name, default)
        # `transformers` also writes {"content": "<pad>", "lstrip": false, ...}.
        token = token.get("content") if isinstance(token, dict) else token
        if not isinstance(token, str):
            raise TokenizerError(f"{path}: {name!r} must be text; it is {token!r}.")
        tokens[name] = token
    return tokens


def as_text(text: str) -> str:
    """`text` as UTF-8 can hold it: half of a surrogate pair is no text and becomes "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")
