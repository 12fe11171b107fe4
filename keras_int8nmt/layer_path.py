"""The layer path: Keras layers in a `tf.while_loop`, batch by batch; runs anywhere, the reference."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import tensorflow as tf

from keras_int8nmt import ops
from keras_int8nmt.batching import make_batches, pad_batch
from keras_int8nmt.beam_search import SearchResult, search
from keras_int8nmt.int8_transformer import Int8Transformer
from keras_int8nmt.search_options import Found, SearchOptions


class LayerPath:
    """Translates token ids with a model's own layers.

    Args:
        model: Has the decoding interface of `Transformer`.
        options: What to search for.
        batch_size: Sentences a batch.
        streams: Batches at the same time; "auto" as in `Translator`.
    """

    def __init__(
        self, model: Any, options: SearchOptions, batch_size: int, streams: int | str
    ) -> None:
        self.model, self.options = model, options
        self.batch_size, self.streams = batch_size, streams
        self.search = tf.function(
            self._search_batch, input_signature=[tf.TensorSpec([None, None], tf.int32)]
        )

    def translate(
        self, sentences: Sequence[Sequence[int]], progress: Callable[[int], Any] | None = None
    ) -> list[list[Found]]:
        """The hypotheses of each sentence, best first; `progress` gets the size of each batch."""
        results: list[Any] = [None] * len(sentences)
        batches = make_batches([len(sentence) for sentence in sentences], self.batch_size)
        for batch, found in self._run(sentences, batches):
            for i, result in zip(batch, found, strict=True):
                results[i] = result
            if progress is not None:
                progress(len(batch))
        return results

    def _run(
        self, sentences: Sequence[Sequence[int]], batches: list[list[int]]
    ) -> Iterator[tuple[list[int], list[list[Found]]]]:
        """Yields each batch with its results, as they are ready."""
        if not batches:
            return

        def translate(batch: list[int]) -> tuple[list[int], list[list[Found]]]:
            ids = pad_batch([sentences[i] for i in batch], self.model.pad_id)
            return batch, unpacked(self.search(tf.constant(ids)))

        streams = min(self._count_streams(), len(batches))
        if streams == 1:
            yield from map(translate, batches)
            return
        # Traced here, once: threads that arrive together would each trace it.
        self.search.get_concrete_function()
        with ThreadPoolExecutor(streams, thread_name_prefix="translator") as pool:
            futures = [pool.submit(translate, batch) for batch in batches]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()

    def _count_streams(self) -> int:
        if isinstance(self.streams, int):
            return self.streams
        # TensorFlow's own products spread over the cores; the native ones run on one each.
        native = isinstance(self.model, Int8Transformer) and ops.native_available()
        return len(os.sched_getaffinity(0)) if native else 1

    def _search_batch(self, source_ids: tf.Tensor) -> SearchResult:
        model, options = self.model, self.options
        return search(
            model.decode_step,
            model.reorder_cache,
            model.grow_cache,
            model.start_cache(model.encode(source_ids), options.beam_size, 0),
            batch=tf.shape(source_ids)[0],
            beam_size=options.beam_size,
            max_length=options.max_length,
            min_length=options.min_length,
            length_penalty=options.length_penalty,
            num_hypotheses=options.num_hypotheses,
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


def unpacked(result: SearchResult) -> list[list[Found]]:
    """The hypotheses that there are of each sentence."""
    tokens, lengths, scores = (x.numpy() for x in result)
    return [
        [
            Found(ids[:n].tolist(), float(score))
            for ids, n, score in zip(row, ends, row_scores, strict=True)
            if n > 0
        ]
        for row, ends, row_scores in zip(tokens, lengths, scores, strict=True)
    ]
