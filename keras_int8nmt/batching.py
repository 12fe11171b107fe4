"""Batches of sentences of like length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def make_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Sorts sentences by length into batches, so that little of a batch is padding.

    Args:
        lengths: Number of tokens of each sentence.
        batch_size: Sentences a batch; the last has what is left.

    Returns:
        For each batch the indices of its sentences. The longest come first: the batch that needs
        the most memory and time is not left for the end. Equal lengths keep their order.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1; received {batch_size}.")
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def pad_batch(sentences: Sequence[Sequence[int]], pad_id: int) -> np.ndarray:
    """int32 `[sentences, longest]`, with `pad_id` after the end of the shorter ones."""
    width = max((len(sentence) for sentence in sentences), default=0)
    batch = np.full((len(sentences), width), pad_id, np.int32)
    for row, sentence in zip(batch, sentences, strict=True):
        row[: len(sentence)] = sentence
    return batch
