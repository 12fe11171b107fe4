"""`train_sentencepiece`: a tokenizer of one's own sentences."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import sentencepiece

from keras_int8nmt._arguments import MOST_INT32, flag, number, whole
from keras_int8nmt._text import visible
from keras_int8nmt.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from keras_int8nmt.training.errors import CorpusError
from keras_int8nmt.training.text import Text, name_of, read_sentences

MODEL_TYPES = ("unigram", "bpe")
# Those of `build_transformer`, where padding is also what the decoder is fed first.
PAD_ID, EOS_ID, UNK_ID = 0, 1, 2
_SPECIAL = 3
# Sums of probabilities depend on how many threads there are: not on how many cores a machine has.
_THREADS = 4
# What SentencePiece learns from; a longer line may take it minutes. In bytes.
_LONGEST_SENTENCE = 4192
_TOO_MANY = re.compile(r"size too high \(\d+\)\. Please set it to a value <= (\d+)")
_TOO_FEW = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")


def train_sentencepiece(
    *texts: Text,
    vocabulary_size: int,
    model_type: str = "unigram",
    character_coverage: float = 0.9995,
    byte_fallback: bool = False,
    symbols: Sequence[str] = (),
    max_sentences: int = 2_000_000,
    seed: int = 0,
) -> SentencePieceTokenizer:
    """Trains a SentencePiece model on sentences; of several texts, one for all of them.

    Equal sentences and arguments give the same model on every machine.

    Args:
        *texts: Paths of files, one sentence a line in UTF-8, .gz and .zst too; or iterables of
            sentences. Those of both languages for a joint vocabulary. Sentences of more than 4,192
            bytes are not learned from.
        vocabulary_size: Pieces, padding (id 0), end (1) and unknown token (2) among them: the
            defaults of `build_transformer`.
        model_type: "unigram" or "bpe".
        character_coverage: The part of all characters that are in pieces; the rarest others are
            unknown. 1.0: none is.
        byte_fallback: Whether characters that are in no piece become bytes, which are 256 pieces
            more, and not the unknown token.
        symbols: Pieces of their own wherever they stand in a text, such as ">>deu<<".
        max_sentences: So many sentences are learned from; of more, that many by chance.
        seed: Of that chance.

    Returns:
        The tokenizer; `save_folder` keeps it with a model.

    Raises:
        CorpusError: when the sentences are too few for the vocabulary, or have too many characters;
            the message says what would do.
        TextFileError: naming the first line of a file that is not UTF-8.
        CompressedFileError: naming a packed file that is damaged.
        OSError: when a file can't be read.
        ValueError, TypeError: naming an argument that is out of range.

    Example:

        >>> tokenizer = train_sentencepiece("train.en", "train.de", vocabulary_size=8000)
        >>> model = build_transformer(source_vocabulary_size=8000)
    """
    if model_type not in MODEL_TYPES:
        raise ValueError(
            f"`model_type` must be one of {', '.join(MODEL_TYPES)}; received {model_type!r}."
        )
    size = whole("vocabulary_size", vocabulary_size, _SPECIAL + 1, MOST_INT32)
    most = whole("max_sentences", max_sentences, 1)
    options = {
        "vocab_size": size,
        "model_type": model_type,
        "character_coverage": number("character_coverage", character_coverage, 0.0, 1.0),
        "byte_fallback": flag("byte_fallback", byte_fallback),
        "user_defined_symbols": list(symbols),
    }
    names = [name_of(text, f"text {i}") for i, text in enumerate(texts, 1)]
    sentences = chain.from_iterable(map(read_sentences, texts, names))
    chosen = _some(filter(_is_learned_from, sentences), most, random.Random(whole("seed", seed, 0)))
    if not chosen:
        raise CorpusError(f"There is no sentence to learn pieces of in {_listed(names)}.")
    return SentencePieceTokenizer(_train(chosen, names, options))


def _is_learned_from(sentence: str) -> bool:
    return visible(sentence) and len(sentence.encode("utf-8", "replace")) <= _LONGEST_SENTENCE


def _some(sentences: Iterator[str], most: int, rng: random.Random) -> list[str]:
    """At most so many, each with the same chance (Vitter 1985, algorithm R)."""
    chosen: list[str] = []
    for seen, sentence in enumerate(sentences):
        if seen < most:
            chosen.append(sentence)
        elif (place := rng.randrange(seen + 1)) < most:
            chosen[place] = sentence
    return chosen


def _train(sentences: Sequence[str], names: Sequence[str], options: dict[str, Any]) -> bytes:
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            pad_id=PAD_ID,
            eos_id=EOS_ID,
            unk_id=UNK_ID,
            bos_id=-1,
            max_sentence_length=_LONGEST_SENTENCE,
            num_threads=_THREADS,
            minloglevel=2,
            **options,
        )
    except (RuntimeError, OSError) as error:
        raise CorpusError(_what_is_wrong(str(error), len(sentences), names, options)) from error
    return model.getvalue()


def _what_is_wrong(error: str, count: int, names: Sequence[str], options: dict[str, Any]) -> str:
    """SentencePiece's message in terms of the caller's arguments."""
    size, of = options["vocab_size"], f"{count} sentences of {_listed(names)}"
    if found := _TOO_MANY.search(error):
        return (
            f"`vocabulary_size` is {size}, and the {of} give at most {found.group(1)} pieces; "
            "a smaller vocabulary or more sentences would do."
        )
    if found := _TOO_FEW.search(error):
        return (
            f"`vocabulary_size` is {size}, and the {of} need at least {found.group(1)} pieces for "
            "their characters alone; a larger vocabulary or a smaller `character_coverage`, "
            f"{options['character_coverage']} by now, would do."
        )
    return f"SentencePiece can't be trained on the {of}: {error}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) or "no text"
