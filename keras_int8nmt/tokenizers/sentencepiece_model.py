"""SentencePiece models: opened from bytes that anybody may have written."""

from __future__ import annotations

import os
from typing import Any

import sentencepiece

from keras_int8nmt.tokenizers.errors import TokenizerError


def open_sentencepiece(place: str | os.PathLike[str], content: bytes) -> Any:
    """A SentencePieceProcessor.

    Args:
        place: Path of the file, for the message.
        content: What it holds.

    Raises:
        TokenizerError: where that is no model.
    """
    try:
        if not content:
            raise ValueError("it is empty")
        return sentencepiece.SentencePieceProcessor(model_proto=content)
    except Exception as error:  # which class it is depends on the release of sentencepiece
        raise TokenizerError(f"{str(place)!r} is not a SentencePiece model: {error}") from error
