"""Text to token ids and back; the run side's, without Keras and TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "MarianTokenizer": "tokenizers.marian",
    "Tokenizer": "tokenizers.protocol",
    "TokenizerError": "tokenizers.marian",
}

__all__ = [
    "MarianTokenizer",
    "Tokenizer",
    "TokenizerError",
]

if TYPE_CHECKING:
    from keras_int8nmt.tokenizers.marian import MarianTokenizer, TokenizerError
    from keras_int8nmt.tokenizers.protocol import Tokenizer
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
