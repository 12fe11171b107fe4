"""Batches of NumPy arrays as a `tf.data.Dataset`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import tensorflow as tf

from keras_int8nmt.training.batches import Batch

# Batches that are made while the model works on one.
_AHEAD = 2


def from_epochs(epoch: Callable[[int], Iterator[Batch]], batches: int) -> tf.data.Dataset:
    """A dataset whose first iteration gives epoch 0, the next one epoch 1.

    Args:
        epoch: The batches of an epoch.
        batches: How many these are, in every epoch.
    """
    numbers = count()
    ids = tf.TensorSpec((None, None), tf.int32)
    weights = tf.TensorSpec((None, None), tf.float32)
    dataset = tf.data.Dataset.from_generator(
        lambda: epoch(next(numbers)),
        output_signature=({"source": ids, "target": ids}, ids, weights),
    )
    known = dataset.apply(tf.data.experimental.assert_cardinality(batches))
    return known.prefetch(_AHEAD)
