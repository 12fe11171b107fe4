"""The fast path: the native decoder over a model's own weights, kept in step with them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt import native
from keras_int8nmt.layers.model_state import observers
from keras_int8nmt.layers.observing.observer import OFF
from keras_int8nmt.models.int8_transformer import Int8Transformer
from keras_int8nmt.models.spec_of_converted import describe_converted
from keras_int8nmt.models.spec_of_float import describe_float
from keras_int8nmt.models.transformer import Transformer
from keras_int8nmt.runtime.batching import longest_first
from keras_int8nmt.runtime.cores import usable_cores
from keras_int8nmt.runtime.model_spec import Description
from keras_int8nmt.runtime.native_decoder import NativeDecoder
from keras_int8nmt.runtime.search_options import NoWork, SearchOptions, Work


def why_not(model: Any) -> str | None:
    """Why the native decoder can't run `model` as it is now; None if it can."""
    if native.library() is None:
        return f"there is no native library: {native.reason()}"
    if isinstance(model, Int8Transformer):
        return None
    if not isinstance(model, Transformer):
        return f"the native decoder runs Transformer and Int8Transformer, not {_kind(model)}"
    if model.compute_dtype != "float32":
        return f"the native decoder computes in float32, the model in {model.compute_dtype}"
    if any(int(observer.switch.value) != OFF for _, observer in observers(model)):
        return "the model is observing or simulating"
    return None


def _kind(model: Any) -> str:
    return type(model).__name__


def describe(model: Any, plain: bool = False) -> Description:
    """The model for the native decoder; a float model's weights are packed as they are now.

    Args:
        model: One of which `why_not` says None.
        plain: Whether weights are left unpacked, to be stored.
    """
    if isinstance(model, Int8Transformer):
        return describe_converted(model, plain)
    return describe_float(model, plain)


class FastPath:
    """Translates token ids by the native decoder; safe from many threads at once.

    Args:
        model: One of which `why_not` says None.
        options: What to search for.
        batch_size: Sentences that a stream computes together.
        streams: Searches at the same time; "auto": as many as the cores allow.
        threads_per_stream: Threads that share the large products of each.
        max_source_length: Most tokens of a source.
    """

    def __init__(
        self,
        model: Any,
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
        self._lock = threading.Lock()
        self._decoder: NativeDecoder | None = None
        self._weights: list[tf.Tensor] = []

    def begin(self, sentences: Sequence[Sequence[int]], keys: Sequence[int]) -> Work:
        """Hands sentences to the streams, those of the largest key first.

        There is no padding on this path: a sentence takes the seat of one that has ended.
        """
        if not sentences:
            return NoWork()
        pad_id = self.model.pad_id
        trimmed = [_without_padding(sentence, pad_id) for sentence in sentences]
        return self.decoder().begin(trimmed, longest_first(keys))

    def decoder(self) -> NativeDecoder:
        """The decoder over the weights that the model has now, made when it is first needed."""
        with self._lock:
            if self._decoder is None or not self._decoder.usable or self._is_stale():
                # Before it is described: a weight assigned meanwhile is then found to be new.
                self._weights = _weights(self.model)
                self._decoder = NativeDecoder(describe(self.model), self.options, **self.settings)
            return self._decoder

    def close(self) -> None:
        """Ends the threads; the next call would begin them again."""
        with self._lock:
            decoder, self._decoder = self._decoder, None
        if decoder is not None:
            decoder.close()

    def _is_stale(self) -> bool:
        now = _weights(self.model)
        return len(now) != len(self._weights) or any(
            _address(a) != _address(b) for a, b in zip(now, self._weights, strict=True)
        )


def _weights(model: Any) -> list[tf.Tensor]:
    """The values of a float model's weights; none of a converted one, which is frozen.

    TensorFlow writes no value in place that somebody else holds. So as long as these are held, a
    weight that has changed is one that lies elsewhere.
    """
    if not isinstance(model, Transformer):
        return []
    watched = {id(w) for _, observer in observers(model) for w in observer.weights}
    return [tf.convert_to_tensor(w) for w in model.weights if id(w) not in watched]


def _address(tensor: tf.Tensor) -> int:
    return np.asarray(memoryview(tensor)).ctypes.data


def _without_padding(sentence: Sequence[int], pad_id: int) -> Sequence[int]:
    """Up to the last token that is not padding, at least one: what `source_lengths` counts."""
    length = len(sentence)
    while length > 1 and sentence[length - 1] == pad_id:
        length -= 1
    return sentence[:length]
