"""The model's own greedy search, the same for every library: a loop over two functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.runtime.batching import make_batches, pad_batch

PAD, END = 0, 1
# Widths of sources are multiples of it: functions are traced and plans made for fewer shapes.
_MULTIPLE = 8


class Steps(Protocol):
    """A model of some library."""

    def encode(self, source: np.ndarray) -> np.ndarray:
        """States `[batch, source, width]` of int32 source ids `[batch, source]`."""

    def next_logits(self, states: np.ndarray, source: np.ndarray, prefix: np.ndarray) -> np.ndarray:
        """Logits `[batch, vocabulary]` of the token after int32 prefixes `[batch, length]`."""


def greedy(steps: Steps, source: np.ndarray, most: int) -> list[list[int]]:
    """The likeliest token after each prefix until all sentences have ended; those that have leave.

    Args:
        steps: The model.
        source: `[batch, source]`, padded.
        most: Tokens that a translation may have, the end token included.

    Returns:
        Tokens of each sentence; the last is the end token, unless there were `most` before.
    """
    found: list[list[int]] = [[]] * len(source)
    states = steps.encode(source)
    prefix = np.full((len(source), 1), PAD, np.int32)
    rows = np.arange(len(source))
    for _ in range(most):
        new = np.argmax(steps.next_logits(states, source, prefix), axis=-1).astype(np.int32)
        prefix = np.concatenate([prefix, new[:, None]], axis=1)
        for row, ids in zip(rows, prefix, strict=True):
            found[row] = [int(i) for i in ids if i != PAD]
        going_on = (new != END) & (new != PAD)
        if not going_on.any():
            break
        if not going_on.all():
            states, source, prefix, rows = (x[going_on] for x in (states, source, prefix, rows))
    return found


def translate(steps: Steps, job: Job) -> list[list[int]]:
    """The translations of a job's sentences, in batches of like length."""
    found: list[list[int]] = [[]] * len(job.sentences)
    for batch in make_batches([len(s) for s in job.sentences], job.batch_size):
        source = padded([job.sentences[i] for i in batch])
        for i, tokens in zip(batch, greedy(steps, source, job.max_length), strict=True):
            found[i] = tokens
    return found


def padded(sentences: Sequence[Sequence[int]]) -> np.ndarray:
    """Ids `[batch, width]` of sentences, the width a multiple of 8."""
    source = pad_batch(sentences, PAD)
    more = -source.shape[1] % _MULTIPLE
    return np.pad(source, ((0, 0), (0, more)), constant_values=PAD)
