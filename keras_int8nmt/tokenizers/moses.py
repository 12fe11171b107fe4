"""Words as Moses' tokenizer makes them, in pieces of subword-nmt, as older packages of Argos have.

The package `sacremoses` does the words; without it such a tokenizer can't be made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras_int8nmt.tokenizers.subword_nmt import BytePairEncoding
from keras_int8nmt.tokenizers.vocabulary import as_text


class MosesPieces:
    """Punctuation normalized, words by Moses' rules for a language, pieces by codes.

    Args:
        codes: What cuts words into pieces.
        source: The language of texts, such as "en".
        target: The language of translations.

    Raises:
        ImportError: without `sacremoses`, saying what to install.
    """

    def __init__(self, codes: BytePairEncoding, source: str, target: str) -> None:
        moses = _sacremoses()
        self._codes = codes
        self._normalizer = moses.MosesPunctNormalizer(source)
        self._tokenizer = moses.MosesTokenizer(source)
        self._detokenizer = moses.MosesDetokenizer(target)

    def encode(self, text: str) -> list[str]:
        """The pieces of a text of the source language."""
        words: list[str] = self._tokenizer.tokenize(self._normalizer.normalize(as_text(text)))
        return self._codes.encode(" ".join(words))

    def decode(self, pieces: Iterable[str]) -> str:
        """The text of pieces of the target language."""
        text: str = self._detokenizer.detokenize(self._codes.decode(pieces).split(" "))
        return text


def _sacremoses() -> Any:
    try:
        import sacremoses
    except ImportError as error:
        raise ImportError(
            "The words of this tokenizer are those of Moses, which sacremoses makes and which "
            'can\'t be found: pip install "keras-int8nmt[moses]".'
        ) from error
    return sacremoses
