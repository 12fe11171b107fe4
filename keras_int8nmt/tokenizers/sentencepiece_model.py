"""A SentencePiece model from the bytes of its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sentencepiece

from keras_int8nmt.tokenizers.errors import TokenizerError


def open_sentencepiece(path: Path, content: bytes) -> Any:
    """The processor of a model.

    Args:
        path: Of the file, for the message.
        content: What it holds.

    Raises:
        TokenizerError: where that is no model.
    """
    try:
        if not content:
            raise ValueError("it is empty")
        return sentencepiece.SentencePieceProcessor(model_proto=content)
    except Exception as error:  # which class it is depends on the release of sentencepiece
        raise TokenizerError(f"{path} is not a SentencePiece model: {error}") from error
