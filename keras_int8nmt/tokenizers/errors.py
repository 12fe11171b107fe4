"""Errors of tokenizers' files."""

from __future__ import annotations

from keras_int8nmt.errors import KerasInt8nmtError


class TokenizerError(KerasInt8nmtError, ValueError):
    """A tokenizer file is missing or is not what it should be; the message names it."""
