"""The native engine: the native decoder over a model's own weights, kept in step with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_int8nmt import native
from keras_int8nmt.runtime import token_filters
from keras_int8nmt.runtime.batching import longest_first
from keras_int8nmt.runtime.cores import usable_cores
from keras_int8nmt.runtime.forks import ForkSafeLock
from keras_int8nmt.runtime.native_decoder import NativeDecoder
from keras_int8nmt.runtime.results import NoSentences, SearchResults
from keras_int8nmt.runtime.search_options import SearchOptions
from keras_int8nmt.translation.model import TranslationModel


def native_refusal(model: TranslationModel, options: SearchOptions) -> str | None:
    """Why the native engine can't search so with `model` as it is now; None if it can."""
    if native.reason() is not None:
        return f"there is no native library: {native.reason()}"
    return model.native_refusal() or token_filters.native_refusal(options.filters())


class NativeEngine:
    """Translates token ids by the native decoder; safe from many threads at once.

    Args:
        model: One of which `native_refusal` says None.
        options: What to search for.
        batch_size: Sentences that a stream computes together.
        streams: Searches at the same time; "auto": as many as the cores allow.
        threads_per_stream: Threads that share the large products of each.
        max_source_length: Most tokens of a source.
    """

    errors = (RuntimeError,)

    def __init__(
        self,
        model: TranslationModel,
        options: SearchOptions,
        batch_size: int,
        streams: int | str,
        threads_per_stream: int,
        max_source_length: int,
    ) -> None:
        self.model, self.options = model, options
        if not isinstance(streams, int):
            streams = max(1, usable_cores() // threads_per_stream)
        self.settings = {
            "streams": streams,
            "threads_per_stream": threads_per_stream,
            "batch_size": batch_size,
            "max_source_length": max_source_length,
        }
        self._lock = ForkSafeLock()
        self._decoder: NativeDecoder | None = None
        self._weights: Any = None

    def begin(self, sentences: Sequence[Sequence[int]], keys: Sequence[int]) -> SearchResults:
        """Hands sentences to the streams, those of the largest key first.

        There is no padding here: a sentence takes the seat of one that has ended.
        """
        if not sentences:
            return NoSentences()
        pad_id = self.model.pad_id
        trimmed = [_without_padding(sentence, pad_id) for sentence in sentences]
        return self.decoder().begin(trimmed, longest_first(keys))

    def decoder(self) -> NativeDecoder:
        """The decoder over the weights that the model has now, made when it is first needed."""
        with self._lock:
            # Taken before the spec: a weight assigned meanwhile is then found to be new.
            weights = self.model.weights_token()
            usable = self._decoder is not None and self._decoder.usable
            if self._decoder is None or not usable or weights != self._weights:
                self._weights = weights
                self._decoder = NativeDecoder(self.model.spec(), self.options, **self.settings)
            return self._decoder

    def close(self) -> None:
        """Ends the threads; the next call would begin them again."""
        with self._lock:
            decoder, self._decoder = self._decoder, None
        if decoder is not None:
            decoder.close()


def _without_padding(sentence: Sequence[int], pad_id: int) -> Sequence[int]:
    """Up to the last token that is not padding, at least one: what `source_lengths` counts."""
    length = len(sentence)
    while length > 1 and sentence[length - 1] == pad_id:
        length -= 1
    return sentence[:length]
