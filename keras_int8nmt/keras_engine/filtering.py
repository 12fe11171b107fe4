"""Token filters in TensorFlow's loop: each is asked in Python, of every hypothesis that lives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt.runtime.token_filters import TokenFilter


def forbidden_mask(
    filters: Sequence[TokenFilter], vocabulary: int, tokens: np.ndarray, live: np.ndarray
) -> np.ndarray:
    """bool `[rows, vocabulary]`: what any filter forbids.

    Args:
        filters: The filters.
        vocabulary: Number of ids.
        tokens: int `[rows, n]`: what each hypothesis has so far.
        live: bool `[rows]`: which of them count; of the others nothing is forbidden.
    """
    mask = np.zeros((len(tokens), vocabulary), bool)
    for row in np.flatnonzero(live):
        so_far = tokens[row].tolist()
        for one in filters:
            mask[row, [i for i in one.forbidden(so_far) if 0 <= i < vocabulary]] = True
    return mask


class Filtering:
    """What the filters of a search make of the best next tokens.

    Args:
        filters: At least one.
        eos_id: The end token, which is allowed where nothing else is.
        pad_id: Never produced.
    """

    def __init__(self, filters: Sequence[TokenFilter], eos_id: int, pad_id: int) -> None:
        self._filters, self._eos_id, self._pad_id = filters, eos_id, pad_id

    def heed(
        self,
        logits: Any,
        best: tuple[Any, Any],
        of_best: Any,
        tokens: Any,
        live: Any,
        too_early: Any,
    ) -> tuple[Any, Any]:
        """The best next tokens where some of them are forbidden; `best` itself elsewhere.

        Args:
            logits: float32 `[rows, v]`.
            best: Log-probabilities, -inf of an end token that comes too early, and ids
                `[rows, k]`, without filters.
            of_best: float32 `[rows, k]`: the log-probabilities that the model gives.
            tokens: int32 `[b, beam, n]`: what each hypothesis has so far.
            live: float32 `[b, beam]`: their scores; -inf: an empty place.
            too_early: bool scalar: whether the end token is not allowed yet.
        """
        log_probs, ids = best
        vocabulary = logits.shape[1]
        rows = tf.reshape(tokens, [-1, tf.shape(tokens)[2]])
        forbidden = tf.numpy_function(
            partial(forbidden_mask, self._filters, vocabulary),
            [rows, tf.reshape(live > -np.inf, [-1])],
            tf.bool,
        )
        forbidden.set_shape([None, vocabulary])
        hit = tf.reduce_any(tf.gather(forbidden, ids, batch_dims=1), axis=1, keepdims=True)
        words = tf.range(vocabulary)
        end = words == self._eos_id
        never = forbidden | (words == self._pad_id) | (end & too_early)
        nothing_left = tf.reduce_all(never, axis=1, keepdims=True)
        allowed = ~never | (nothing_left & end)
        others, other_ids = tf.math.top_k(tf.where(allowed, logits, -np.inf), ids.shape[1])
        # Filters change no probability. What is left of the log-sum-exp is as the native decoder
        # has it then.
        log_sum = tf.gather(logits, ids[:, :1], batch_dims=1) - of_best[:, :1]
        return tf.where(hit, others - log_sum, log_probs), tf.where(hit, other_ids, ids)
