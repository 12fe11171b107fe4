"""How much the INT8 of a MatMul moves the model's predictions: KL(float || converted) a token.

Teacher-forced on sentences with their references. A score of a few hundred sentences can't tell
one MatMul from another, since most change no more than a word in some; the predicted distributions
all change a little, and tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

IdPair = tuple[list[int], list[int]]

# Target tokens that are looked at, about: the divergence of a MatMul is then known to some per
# cent, and the predictions of a vocabulary of 32,000 take 130 MB.
POSITIONS = 1024
_BATCH = 16


class Divergence:
    """The divergence of converted models from a float model on a few sentences.

    Args:
        model: The float model.
        pairs: Token ids of sentences and references, the end token last. As many as make up
            `POSITIONS` tokens are taken, evenly.
    """

    def __init__(self, model: Any, pairs: Sequence[IdPair]) -> None:
        tokens = sum(len(target) for _, target in pairs)
        stride = max(1, tokens // POSITIONS)
        # By length, so that little is padding.
        taken = sorted(pairs[::stride], key=lambda pair: (len(pair[1]), len(pair[0])))
        self._batches = []
        for first in range(0, len(taken), _BATCH):
            batch = taken[first : first + _BATCH]
            inputs = {
                "source": _padded([s for s, _ in batch], model.pad_id),
                "target": _padded([[model.start_id, *t[:-1]] for _, t in batch], model.pad_id),
            }
            lengths = np.array([len(t) for _, t in batch])
            real = np.arange(lengths.max()) < lengths[:, None]
            self._batches.append((inputs, real, _log_probabilities(model, inputs)[real]))

    def __call__(self, converted: Any) -> float:
        """KL(float || converted) in nats, the mean over tokens; at least 0."""
        total, count = 0.0, 0
        for inputs, real, exact in self._batches:
            other = _log_probabilities(converted, inputs)[real]
            total += float(np.sum(np.exp(exact) * (exact - other), dtype=np.float64))
            count += len(exact)
        return max(total / count, 0.0)


def _log_probabilities(model: Any, inputs: dict[str, Any]) -> np.ndarray:
    return tf.nn.log_softmax(model(inputs, training=False), axis=-1).numpy()


def _padded(rows: list[list[int]], pad_id: int) -> tf.Tensor:
    return tf.constant(keras.utils.pad_sequences(rows, dtype="int32", padding="post", value=pad_id))
