"""The graph engine: Keras layers in a `tf.while_loop`; runs anywhere, the reference."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from typing import Any

import tensorflow as tf

from keras_int8nmt.keras_engine.beam_search import SearchResult, search
from keras_int8nmt.keras_engine.forks import check_tensorflow
from keras_int8nmt.layers.finite import require_finite
from keras_int8nmt.runtime.batching import make_batches, pad_batch
from keras_int8nmt.runtime.errors import EngineGoneError, ForkedProcessError
from keras_int8nmt.runtime.forks import ForkSafeLock
from keras_int8nmt.runtime.results import Hypothesis, NoSentences, SearchResults, found_hypothesis
from keras_int8nmt.runtime.search_options import SearchOptions


class GraphEngine:
    """Translates token ids with a model's own layers; safe from many threads at once.

    Args:
        model: Has the decoding interface of `Transformer`.
        options: What to search for.
        batch_size: Most sentences of a batch.
        streams: Batches at the same time.
        max_batch_tokens: Most source tokens of a batch, padding included.
    """

    # What TensorFlow raises when it runs a step, and what the package's own operations do.
    errors = (RuntimeError, tf.errors.OpError)

    def __init__(
        self,
        model: Any,
        options: SearchOptions,
        batch_size: int,
        streams: int,
        max_batch_tokens: int | None = None,
    ) -> None:
        self.model, self.options = model, options
        self.batch_size, self.streams = batch_size, streams
        self.max_batch_tokens = max_batch_tokens
        # AutoGraph would find nothing to rewrite, and that takes four times as long as tracing.
        self.search = tf.function(
            self._search_batch,
            input_signature=[tf.TensorSpec([None, None], tf.int32)],
            autograph=False,
        )
        self._lock = ForkSafeLock()
        self._threads: ThreadPoolExecutor | None = None
        self._users = 0
        # Of which weights it is known.
        self._finite: tuple[Any] | None = None

    def begin(self, sentences: Sequence[Sequence[int]], keys: Sequence[int]) -> SearchResults:
        """Hands batches to the streams, in one queue for all that was begun.

        Args:
            sentences: Token ids, the end token included.
            keys: What they are sorted by; those of the largest key go first.

        Raises:
            RuntimeError: in a forked child, and when Python ends.
            NotFiniteError: naming a weight of the model that is NaN or infinite.
        """
        check_tensorflow()
        if not sentences:
            return NoSentences()
        self._require_finite()
        batches = make_batches(
            [len(sentence) for sentence in sentences],
            self.batch_size,
            keys=keys,
            max_tokens=self.max_batch_tokens,
        )
        # Traced here, once: threads that arrive together would each trace it.
        self.search.get_concrete_function()
        threads = self._join()
        result = _GraphResult(self._leave)
        try:
            for batch in batches:
                result.add(threads.submit(self._translate, [sentences[i] for i in batch]), batch)
        except RuntimeError as error:
            result.cancel()
            raise EngineGoneError(f"The Keras engine: {error}.") from error
        except BaseException:
            # Nobody will ask for it, and its threads wait for their last user.
            result.cancel()
            raise
        return result

    def _translate(self, batch: list[Sequence[int]]) -> list[list[Hypothesis]]:
        found = self.search(tf.constant(pad_batch(batch, self.model.pad_id)))
        return unpacked(found, self.options.max_length)

    def _require_finite(self) -> None:
        """Looks through weights that are new: a NaN may be lost in a ReLU, and nothing tells."""
        weights = self.model.weights_token()
        if self._finite is None or self._finite[0] != weights:
            require_finite(self.model)
            self._finite = (weights,)

    def _join(self) -> ThreadPoolExecutor:
        """The streams' threads, which are there as long as anybody has work for them."""
        with self._lock:
            self._users += 1
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.streams, "translator")
            return self._threads

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()

    def _search_batch(self, source_ids: tf.Tensor) -> SearchResult:
        return search_batch(self.model, source_ids, self.options)


def search_batch(
    model: Any, source_ids: tf.Tensor, options: SearchOptions, *, tell_live: bool = False
) -> SearchResult:
    """Searches for translations of a batch; to be called inside a `tf.function`.

    Args:
        model: Has the decoding interface of `Transformer`.
        source_ids: int32 `[b, s]`, padded.
        options: What to search for.
        tell_live: Whether `decode_step` is told which hypotheses live, as in `search`.
    """
    return search(
        model.decode_step,
        model.reorder_cache,
        model.grow_cache,
        model.start_cache(model.encode(source_ids), options.beam_size, 0),
        batch=tf.shape(source_ids)[0],
        options=options,
        start_id=model.start_id,
        eos_id=model.eos_id,
        pad_id=model.pad_id,
        select=_select_sentences,
        tell_live=tell_live,
    )


class _GraphResult:
    """Batches that the threads of a `GraphEngine` are at; see `AsyncResult`."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._futures: dict[Future[list[list[Hypothesis]]], list[int]] = {}
        self._leave = leave
        self._over = False
        self._process = os.getpid()

    def add(self, future: Future[list[list[Hypothesis]]], batch: list[int]) -> None:
        """A batch of sentences of these numbers, which a thread has got."""
        self._futures[future] = batch

    def results(self, progress: Callable[[int], Any] | None = None) -> list[list[Hypothesis]]:
        if self._process != os.getpid():
            raise ForkedProcessError(
                "The Keras engine: it was begun before this process was forked."
            )
        results: list[Any] = [None] * sum(map(len, self._futures.values()))
        try:
            for future in as_completed(self._futures):
                batch = self._futures[future]
                for i, found in zip(batch, future.result(), strict=True):
                    results[i] = found
                if progress is not None:
                    progress(len(batch))
        finally:
            self.cancel()
        return results

    def when_over(self, callback: Callable[[], Any]) -> bool:
        left = [future for future in self._futures if not future.done()]
        if not left:
            return False
        # One for each that is to finish; whoever takes the last one calls.
        tokens = [None] * (len(left) - 1)

        def finished(_: Any) -> None:
            try:
                tokens.pop()
            except IndexError:
                callback()

        for future in left:
            future.add_done_callback(finished)
        return True

    def cancel(self) -> None:
        # A forked child has none of the threads.
        if self._over or self._process != os.getpid():
            return
        self._over = True
        try:
            # Only for what has begun: others' batches may stand before the cancelled ones.
            wait([future for future in self._futures if not future.cancel()])
        finally:
            self._leave()


def _select_sentences(cache: Any, sentences: tf.Tensor, count: tf.Tensor) -> Any:
    """The state of some of `count` sentences: a tensor has one or `beam` rows for each."""

    def select(x: tf.Tensor) -> tf.Tensor:
        rows = tf.shape(x)[0] // count
        return tf.gather(x, tf.reshape(sentences[:, None] * rows + tf.range(rows), [-1]))

    return tf.nest.map_structure(select, cache)


def unpacked(result: SearchResult, max_length: int) -> list[list[Hypothesis]]:
    """The hypotheses that there are of each sentence; the search ended them at `max_length`."""
    tokens, lengths, scores = (x.numpy() for x in result)
    return [
        [
            found_hypothesis(ids[:n].tolist(), float(score), max_length)
            for ids, n, score in zip(row, ends, row_scores, strict=True)
            if n > 0
        ]
        for row, ends, row_scores in zip(tokens, lengths, scores, strict=True)
    ]
