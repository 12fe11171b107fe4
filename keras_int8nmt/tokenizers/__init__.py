"""Text to token ids and back; the run side's, without Keras and TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "BytePairEncoding": "tokenizers.subword_nmt",
    "HuggingFaceTokenizer": "tokenizers.hugging_face",
    "KerasHubTokenizer": "tokenizers.keras_hub",
    "MarianTokenizer": "tokenizers.marian",
    "PieceTokenizer": "tokenizers.piece_tokenizer",
    "SentencePieceTokenizer": "tokenizers.sentencepiece_tokenizer",
    "SubwordNMTTokenizer": "tokenizers.subword_tokenizer",
    "Tokenizer": "tokenizers.protocol",
    "TokenizerError": "tokenizers.errors",
    "WordPieceTokenizer": "tokenizers.word_piece",
    "as_tokenizer": "tokenizers.adapters",
    "register_tokenizer": "tokenizers.kinds",
}

__all__ = [
    "BytePairEncoding",
    "HuggingFaceTokenizer",
    "KerasHubTokenizer",
    "MarianTokenizer",
    "PieceTokenizer",
    "SentencePieceTokenizer",
    "SubwordNMTTokenizer",
    "Tokenizer",
    "TokenizerError",
    "WordPieceTokenizer",
    "as_tokenizer",
    "register_tokenizer",
]

if TYPE_CHECKING:
    from keras_int8nmt.tokenizers.adapters import as_tokenizer
    from keras_int8nmt.tokenizers.errors import TokenizerError
    from keras_int8nmt.tokenizers.hugging_face import HuggingFaceTokenizer
    from keras_int8nmt.tokenizers.keras_hub import KerasHubTokenizer
    from keras_int8nmt.tokenizers.kinds import register_tokenizer
    from keras_int8nmt.tokenizers.marian import MarianTokenizer
    from keras_int8nmt.tokenizers.piece_tokenizer import PieceTokenizer
    from keras_int8nmt.tokenizers.protocol import Tokenizer
    from keras_int8nmt.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
    from keras_int8nmt.tokenizers.subword_nmt import BytePairEncoding
    from keras_int8nmt.tokenizers.subword_tokenizer import SubwordNMTTokenizer
    from keras_int8nmt.tokenizers.word_piece import WordPieceTokenizer
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
