"""`Translator`: sentences in, sentences out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from keras_int8nmt import ops
from keras_int8nmt.batching import make_batches, pad_batch
from keras_int8nmt.beam_search import SearchResult, search
from keras_int8nmt.int8_transformer import Int8Transformer


class Tokenizer(Protocol):
    """What a `Translator` asks of a tokenizer."""

    pad_id: int
    eos_id: int

    def encode(self, text: str) -> list[int]:
        """Token ids of a sentence, the end token last."""

    def decode(self, ids: list[int]) -> str:
        """The text of generated tokens."""


@dataclass(frozen=True)
class Hypothesis:
    """One translation of a sentence.

    Attributes:
        text: The translation; None where the caller asked for ids.
        tokens: Generated token ids, the end token included.
        score: Sum of the tokens' log-probabilities / number of tokens ** length penalty.
    """

    text: str | None
    tokens: list[int]
    score: float


@dataclass(frozen=True)
class Translation:
    """The hypotheses of a sentence, best first; at least one."""

    hypotheses: list[Hypothesis]


class Translator:
    """Translates with a `Transformer` or an `Int8Transformer`, by greedy or beam search.

    Sentences are sorted by length into batches and answered in the order they came in. What else
    is in a batch never changes an answer: with an INT8 model on the native library not by a bit,
    otherwise by no more than the rounding of float32 sums.

    Args:
        model: A `Transformer` or `Int8Transformer`.
        tokenizer: Has `pad_id`, `eos_id`, `encode(text)` and `decode(ids)`; None is enough for
            `translate_ids`.
        beam_size: Live hypotheses a sentence; 1 is greedy search.
        batch_size: Sentences a batch.
        max_length: Most tokens of a translation, the end token included. More than the model's own
            `max_length` means the latter.
        min_length: Fewest tokens of a translation, the end token included.
        length_penalty: A hypothesis of n tokens scores its log-probability / n ** length_penalty.
        num_hypotheses: Translations a sentence that `translate` returns, at most `beam_size`.
        streams: Batches translated at the same time, each by a thread; all share the model's
            weights. "auto": as many as there are cores, and one for a model whose operations
            use several cores by themselves.
        max_source_length: A longer source is cut to this many tokens, the end token kept, with a
            warning (once). None: the model's `max_length`, which is also the most.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or model and tokenizer do not belong together.

    Example:

        >>> translator = Translator(load_marian(folder), MarianTokenizer(folder), beam_size=4)
        >>> translator(["Good morning."])
        ['Guten Morgen.']
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer | None,
        *,
        beam_size: int = 4,
        batch_size: int = 32,
        max_length: int = 256,
        min_length: int = 0,
        length_penalty: float = 1.0,
        num_hypotheses: int = 1,
        streams: int | str = "auto",
        max_source_length: int | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.beam_size = _whole("beam_size", beam_size, 1)
        self.batch_size = _whole("batch_size", batch_size, 1)
        self.max_length = min(_whole("max_length", max_length, 1), model.max_length)
        self.min_length = _whole("min_length", min_length, 0)
        if self.min_length > self.max_length:
            raise ValueError(
                f"`min_length` is {min_length}, more than the maximum length {self.max_length}."
            )
        self.length_penalty = float(length_penalty)
        if not np.isfinite(self.length_penalty):
            raise ValueError(f"`length_penalty` must be finite; received {length_penalty!r}.")
        self.num_hypotheses = _whole("num_hypotheses", num_hypotheses, 1)
        if num_hypotheses > beam_size:
            raise ValueError(
                f"`num_hypotheses` is {num_hypotheses}, more than `beam_size`, {beam_size}."
            )
        self.streams = streams if streams == "auto" else _whole("streams", streams, 1)
        if max_source_length is None:
            max_source_length = model.max_length
        self.max_source_length = min(
            _whole("max_source_length", max_source_length, 1), model.max_length
        )
        for name in ("pad_id", "eos_id") if tokenizer is not None else ():
            ours, theirs = getattr(model, name), getattr(tokenizer, name)
            if ours != theirs:
                raise ValueError(f"`{name}` of the model is {ours}, of the tokenizer {theirs}.")
        self._warned = False
        self._search = tf.function(
            self._search_batch, input_signature=[tf.TensorSpec([None, None], tf.int32)]
        )

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """The best translation of each text."""
        return [result.hypotheses[0].text or "" for result in self.translate(texts)]

    def translate(
        self, texts: Sequence[str], progress: Callable[[int], Any] | None = None
    ) -> list[Translation]:
        """Translates with scores.

        Args:
            texts: Sentences. One of nothing but white space has the empty translation, score 0.
            progress: Called after each batch, in the caller's thread, with its number of sentences.

        Returns:
            A `Translation` for each text, in the order of `texts`.
        """
        if self.tokenizer is None:
            raise ValueError("This translator has no tokenizer: use `translate_ids`.")
        if isinstance(texts, str | bytes):
            raise TypeError("`texts` must be a list of sentences; received one piece of text.")
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"`texts[{i}]` must be a str; it is {text!r}.")
        results = [Translation([Hypothesis("", [], 0.0)])] * len(texts)
        present = [i for i, text in enumerate(texts) if text.strip()]
        if progress is not None and len(present) < len(texts):
            progress(len(texts) - len(present))
        ids = [self.tokenizer.encode(texts[i]) for i in present]
        for i, result in zip(present, self.translate_ids(ids, progress), strict=True):
            results[i] = Translation([self._with_text(h) for h in result.hypotheses])
        return results

    def translate_ids(
        self, sentences: Sequence[Sequence[int]], progress: Callable[[int], Any] | None = None
    ) -> list[Translation]:
        """`translate` of token ids, the end token included; the results have no text."""
        cut = [self._checked(i, sentence) for i, sentence in enumerate(sentences)]
        results: list[Any] = [None] * len(cut)
        batches = make_batches([len(sentence) for sentence in cut], self.batch_size)
        for batch, found in self._run(cut, batches):
            for i, result in zip(batch, found, strict=True):
                results[i] = result
            if progress is not None:
                progress(len(batch))
        return results

    def _with_text(self, hypothesis: Hypothesis) -> Hypothesis:
        assert self.tokenizer is not None
        text = self.tokenizer.decode(hypothesis.tokens)
        return Hypothesis(text, hypothesis.tokens, hypothesis.score)

    def _checked(self, i: int, sentence: Sequence[int]) -> list[int]:
        ids = [int(token) for token in sentence]
        vocabulary = self.model.settings["source_vocabulary_size"]
        if not ids or ids[-1] != self.model.eos_id:
            raise ValueError(f"Sentence {i} does not end with the end token {self.model.eos_id}.")
        if min(ids) < 0 or max(ids) >= vocabulary:
            raise ValueError(
                f"Sentence {i} has a token id outside the source vocabulary [0, {vocabulary})."
            )
        if len(ids) <= self.max_source_length:
            return ids
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"Sentence {i} has {len(ids)} tokens; longer ones than {self.max_source_length} "
                "are cut. No more such warnings follow.",
                stacklevel=2,
            )
        return [*ids[: self.max_source_length - 1], self.model.eos_id]

    # ---- batches ----

    def _run(
        self, sentences: list[list[int]], batches: list[list[int]]
    ) -> Iterator[tuple[list[int], list[Translation]]]:
        """Yields each batch with its results, as they are ready."""
        if not batches:
            return

        def translate(batch: list[int]) -> tuple[list[int], list[Translation]]:
            ids = pad_batch([sentences[i] for i in batch], self.model.pad_id)
            return batch, _unpacked(self._search(tf.constant(ids)))

        streams = min(self._streams(), len(batches))
        if streams == 1:
            yield from map(translate, batches)
            return
        # Traced here, once: threads that arrive together would each trace it.
        self._search.get_concrete_function()
        with ThreadPoolExecutor(streams, thread_name_prefix="translator") as pool:
            futures = [pool.submit(translate, batch) for batch in batches]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()

    def _streams(self) -> int:
        if isinstance(self.streams, int):
            return self.streams
        # TensorFlow's own products spread over the cores; the native ones run on one each.
        native = isinstance(self.model, Int8Transformer) and ops.native_available()
        return len(os.sched_getaffinity(0)) if native else 1

    def _search_batch(self, source_ids: tf.Tensor) -> SearchResult:
        model, beam = self.model, self.beam_size
        return search(
            model.decode_step,
            model.reorder_cache,
            model.grow_cache,
            model.start_cache(model.encode(source_ids), beam, 0),
            batch=tf.shape(source_ids)[0],
            beam_size=beam,
            max_length=self.max_length,
            min_length=self.min_length,
            length_penalty=self.length_penalty,
            num_hypotheses=self.num_hypotheses,
            start_id=model.start_id,
            eos_id=model.eos_id,
            pad_id=model.pad_id,
            select=_select_sentences,
        )


def _select_sentences(cache: Any, sentences: tf.Tensor, count: tf.Tensor) -> Any:
    """The state of some of `count` sentences: a tensor has one or `beam` rows for each."""

    def select(x: tf.Tensor) -> tf.Tensor:
        rows = tf.shape(x)[0] // count
        return tf.gather(x, tf.reshape(sentences[:, None] * rows + tf.range(rows), [-1]))

    return tf.nest.map_structure(select, cache)


def _unpacked(result: SearchResult) -> list[Translation]:
    """The hypotheses that there are of each sentence; an empty one where there is none."""
    tokens, lengths, scores = (x.numpy() for x in result)
    translations = []
    for row, ends, row_scores in zip(tokens, lengths, scores, strict=True):
        hypotheses = [
            Hypothesis(None, ids[:n].tolist(), float(score))
            for ids, n, score in zip(row, ends, row_scores, strict=True)
            if n > 0
        ]
        translations.append(Translation(hypotheses or [Hypothesis(None, [], -np.inf)]))
    return translations


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"`{name}` must be a whole number; received {value!r}.")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}; received {value}.")
    return int(value)
