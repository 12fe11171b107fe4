"""Translation as a step of a `tf.data` pipeline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

# One window is with the streams while the next is tokenized.
_AT_ONCE = 2


def map_strings(
    dataset: tf.data.Dataset, translate: Callable[[list[str]], list[str]], window: int
) -> tf.data.Dataset:
    """See `Translator.map_dataset`.

    Args:
        dataset: Of string tensors of rank 0 or 1.
        translate: Of as many texts as it gets; safe from several threads.
        window: Elements of rank 0 that are translated together.
    """
    spec = dataset.element_spec
    strings = isinstance(spec, tf.TensorSpec) and spec.dtype == tf.string
    if not strings or spec.shape.rank not in (0, 1):
        raise TypeError(
            f"The dataset must be of strings, one at a time or in batches; it is of {spec}."
        )
    if spec.shape.rank == 1:
        return _mapped(dataset, translate)
    if window < 1:
        raise ValueError(f"`window` must be at least 1; received {window}.")
    mapped = _mapped(dataset.batch(window), translate).unbatch()
    # Lost by the way there and back.
    return mapped.apply(tf.data.experimental.assert_cardinality(dataset.cardinality()))


def _mapped(
    dataset: tf.data.Dataset, translate: Callable[[list[str]], list[str]]
) -> tf.data.Dataset:
    def in_python(texts: np.ndarray) -> np.ndarray:
        return np.array(translate([text.decode("utf-8") for text in texts]), object)

    def step(texts: tf.Tensor) -> tf.Tensor:
        translations = tf.numpy_function(in_python, [texts], tf.string)
        return tf.ensure_shape(translations, texts.shape)

    return dataset.map(step, num_parallel_calls=_AT_ONCE, deterministic=True)
