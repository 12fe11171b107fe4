"""Translation as a step of a `tf.data` pipeline."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

from keras_int8nmt._arguments import MOST_INT32, whole
from keras_int8nmt.translation.results import Translation

# One window is with the streams while the next is tokenized.
_AT_ONCE = 2
_COLUMNS = ("translation", "finished", "source_cut")


Translate = Callable[[list[str]], list[Translation]]


def map_strings(dataset: Any, translate: Translate, window: int, marks: bool) -> Any:
    """See `Translator.map_dataset`.

    Args:
        dataset: A `tf.data.Dataset` of string tensors of rank 0 or 1.
        translate: Of as many texts as it gets; safe from several threads.
        window: Elements of rank 0 that are translated together.
        marks: Whether elements are dicts, of marks too.
    """
    tf = _tensorflow_of(dataset)
    spec = dataset.element_spec
    strings = isinstance(spec, tf.TensorSpec) and spec.dtype == tf.string
    if not strings or spec.shape.rank not in (0, 1):
        raise TypeError(
            f"The dataset must be of strings, one at a time or in batches; it is of {spec}."
        )
    if spec.shape.rank == 1:
        return _mapped(tf, dataset, translate, marks)
    window = whole("window", window, 1, MOST_INT32)
    mapped = _mapped(tf, dataset.batch(window), translate, marks).unbatch()
    # Lost by the way there and back.
    return mapped.apply(tf.data.experimental.assert_cardinality(dataset.cardinality()))


def _tensorflow_of(dataset: Any) -> Any:
    """The TensorFlow that `dataset` is of: whoever has a dataset has imported it."""
    tf = sys.modules.get("tensorflow")
    if tf is None or not isinstance(dataset, tf.data.Dataset):
        raise TypeError(f"`dataset` must be a tf.data.Dataset; it is a {type(dataset).__name__}.")
    return tf


def _mapped(tf: Any, dataset: Any, translate: Translate, marks: bool) -> Any:
    # Here: translating needs no NumPy, and whoever has a dataset has it already.
    import numpy as np

    def in_python(texts: np.ndarray) -> tuple[np.ndarray, ...]:
        found = translate([text.decode("utf-8") for text in texts])
        return (
            np.array([each.text for each in found], object),
            np.array([each.finished for each in found], bool),
            np.array([each.source_cut for each in found], bool),
        )

    def step(texts: Any) -> Any:
        columns = tf.numpy_function(in_python, [texts], (tf.string, tf.bool, tf.bool))
        columns = [tf.ensure_shape(column, texts.shape) for column in columns]
        return dict(zip(_COLUMNS, columns, strict=True)) if marks else columns[0]

    return dataset.map(step, num_parallel_calls=_AT_ONCE, deterministic=True)
