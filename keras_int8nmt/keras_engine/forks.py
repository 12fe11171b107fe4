"""TensorFlow in a forked child: where it has begun in the parent, it waits there for ever."""

from __future__ import annotations

import tensorflow as tf

from keras_int8nmt.runtime.errors import ForkedProcessError
from keras_int8nmt.runtime.forks import in_forked_child

_of_a_parent = False


def check_tensorflow() -> None:
    """To be called before TensorFlow computes.

    Raises:
        ForkedProcessError: in a child whose parent had begun to use TensorFlow when it forked.
    """
    if _of_a_parent:
        raise ForkedProcessError(
            "This process was forked from one that had begun to use TensorFlow, whose threads a "
            "child has not. Load the model after the fork, in a parent that has not used "
            "TensorFlow; start processes with multiprocessing's method 'spawn'; or translate with "
            "load_translator, which needs no TensorFlow."
        )


def _has_begun() -> bool:
    """Whether TensorFlow has made its threads; their number can't be changed then."""
    threading = tf.config.threading
    threads = threading.get_inter_op_parallelism_threads()
    try:
        threading.set_inter_op_parallelism_threads(threads + 1)
    except RuntimeError:
        return True
    threading.set_inter_op_parallelism_threads(threads)
    return False


@in_forked_child
def _look() -> None:
    global _of_a_parent
    _of_a_parent = _of_a_parent or _has_begun()
