"""Which sentences go together, and in which order: by length, in bins of bounded size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Sentences of a batch, streams, and threads of a stream. More of them would only take memory.
MOST_BATCH, MOST_STREAMS, MOST_THREADS = 1 << 16, 1024, 256

SORTS = ("tokens", "words", "none")


def sort_keys(
    sort: str, ids: Sequence[Sequence[int]], texts: Sequence[str] | None = None
) -> list[int]:
    """What sentences are sorted by.

    Args:
        sort: "tokens", "words", or "none": equal keys, which leave the order as it is.
        ids: Tokens of each sentence.
        texts: The sentences themselves; words are what white space separates in them.
    """
    if sort == "tokens":
        return [len(sentence) for sentence in ids]
    if sort == "none":
        return [0] * len(ids)
    if sort != "words":
        raise ValueError(f"`sort` must be one of {', '.join(SORTS)}; received {sort!r}.")
    if texts is None:
        raise ValueError('`sort="words"` needs text; token ids have no words.')
    return [len(text.split()) for text in texts]


def longest_first(keys: Sequence[int]) -> list[int]:
    """Indices by falling key; equals keep their order.

    What needs the most memory and time is not left for the end.
    """
    return sorted(range(len(keys)), key=lambda i: -keys[i])


def make_batches(
    lengths: Sequence[int],
    batch_size: int,
    *,
    keys: Sequence[int] | None = None,
    max_tokens: int | None = None,
) -> list[list[int]]:
    """Sorts sentences into batches of like length, so that little of a batch is padding.

    Args:
        lengths: Number of tokens of each sentence.
        batch_size: Most sentences of a batch.
        keys: What to sort by, the largest first; by default `lengths`.
        max_tokens: Most tokens of a batch, padding included: sentences times the longest. A
            sentence that alone is longer has a batch for itself. None: no bound.

    Returns:
        For each batch the indices of its sentences. Equal keys keep their order.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1; received {batch_size}.")
    batches: list[list[int]] = []
    width = 0
    for i in longest_first(lengths if keys is None else keys):
        wider = max(width, lengths[i])
        full = not batches or len(batches[-1]) == batch_size
        if full or (max_tokens is not None and (len(batches[-1]) + 1) * wider > max_tokens):
            batches.append([])
            wider = lengths[i]
        batches[-1].append(i)
        width = wider
    return batches


def pad_batch(sentences: Sequence[Sequence[int]], pad_id: int) -> np.ndarray:
    """int32 `[sentences, longest]`, with `pad_id` after the end of the shorter ones."""
    # Here: translating needs no NumPy.
    import numpy as np

    width = max((len(sentence) for sentence in sentences), default=0)
    batch = np.full((len(sentences), width), pad_id, np.int32)
    for row, sentence in zip(batch, sentences, strict=True):
        row[: len(sentence)] = sentence
    return batch


def cut_ids(ids: Sequence[int], longest: int, eos_id: int | None) -> list[int]:
    """`ids`, or of a longer sentence as many as there is room for, the end token the last of them.

    Args:
        ids: Tokens of a sentence.
        longest: Most tokens that are left of it.
        eos_id: The end token; None: the sentence has none, and is left without.
    """
    if len(ids) <= longest:
        return list(ids)
    return list(ids[:longest]) if eos_id is None else [*ids[: longest - 1], eos_id]
