"""What the observers of a `Transformer` are shown: given targets, or what a search decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_int8nmt.keras_engine.engine import search_batch
from keras_int8nmt.runtime.batching import make_batches, pad_batch
from keras_int8nmt.runtime.search_options import SearchOptions

IdPair = tuple[list[int], list[int]]
Progress = Callable[[int], Any]


def feed_targets(model: Any, pairs: list[IdPair], batch_size: int, progress: Progress) -> None:
    """Runs the model over sentences, the decoder fed their targets.

    `predict` would trace the model three times, ten seconds each: for the first shape, for any
    length, and for the number of sentences in the last batch.

    Args:
        model: A `Transformer`.
        pairs: Source and target ids, the end token included.
        batch_size: Sentences a batch.
        progress: Told the number of sentences of each batch.
    """

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32)] * 2, autograph=False)
    def step(source: tf.Tensor, target: tf.Tensor) -> None:
        model({"source": source, "target": target}, training=False)

    # By length, so that little is padding.
    pairs = sorted(pairs, key=lambda p: (len(p[1]), len(p[0])))
    for first in range(0, len(pairs), batch_size):
        batch = pairs[first : first + batch_size]
        fed = [[model.start_id, *target[:-1]] for _, target in batch]
        sources = pad_batch([source for source, _ in batch], model.pad_id)
        step(tf.constant(sources), tf.constant(pad_batch(fed, model.pad_id)))
        progress(len(batch))


def feed_beam_search(
    model: Any, sources: list[list[int]], beam_size: int, batch_size: int, progress: Progress
) -> None:
    """Runs a beam search over sentences; its every step is watched while it is taken.

    The search is that of `Translator`, on the model's own layers. In each step the observers count
    the hypotheses that live, each once: places in the beam that are empty, and sentences that have
    stopped, are computed and not counted. Encoder and cross-attention's keys and values are counted
    once a sentence, as they are computed.

    Args:
        model: A `Transformer` with `quant=True`, observing.
        sources: Source ids, the end token included.
        beam_size: Live hypotheses a sentence.
        batch_size: Sentences a batch.
        progress: Told the number of sentences of each batch.
    """
    options = SearchOptions(beam_size=beam_size, max_length=model.max_length)

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32)], autograph=False)
    def run(source: tf.Tensor) -> tf.Tensor:
        return search_batch(model, source, options, tell_live=True).lengths

    for batch in make_batches([len(ids) for ids in sources], batch_size):
        run(tf.constant(pad_batch([sources[i] for i in batch], model.pad_id)))
        progress(len(batch))
