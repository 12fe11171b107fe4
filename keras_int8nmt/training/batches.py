"""Which pairs are trained on together, in which epoch in which order; NumPy alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Each width is so many times the one before, or one multiple more.
_GROWTH = 1.25

Batch = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]


class PairRows(NamedTuple):
    """The pairs of a batch.

    Attributes:
        width: What both sides are padded to.
        rows: Rows of the batch.
        pairs: Which pairs; where they are fewer than `rows`, the other rows are padding.
    """

    width: int
    rows: int
    pairs: np.ndarray


class _Bucket(NamedTuple):
    """All pairs that are padded to one width, and how many of them make a batch."""

    width: int
    rows: int
    pairs: np.ndarray


def bucket_widths(max_length: int, multiple: int) -> list[int]:
    """Widths that sentences are padded to, few enough for a compiler to make a program for each.

    Multiples, the gaps a quarter of the width; the last is `max_length` itself.
    """
    widths = [min(multiple, max_length)]
    while widths[-1] < max_length:
        wider = max(widths[-1] + multiple, int(widths[-1] * _GROWTH) // multiple * multiple)
        widths.append(min(wider, max_length))
    return widths


class BatchPlan:
    """Batches of an epoch; every pair is in one of them.

    A batch has pairs of about one length, its bucket's, and all batches of a bucket have one shape:
    as many rows as the budget allows, or some fewer, so that all are about equally full.

    Args:
        longest: Tokens of the longer side of each pair, `[pairs]`.
        batch_tokens: Most tokens of a batch on each side, padding included. A pair whose width
            alone is more is a batch by itself.
        max_length: At least the largest of `longest`.
        multiple: Of which widths are.
        seed: Of the orders; None: always the same, by width and then as they came.
    """

    def __init__(
        self,
        longest: np.ndarray,
        batch_tokens: int,
        max_length: int,
        multiple: int,
        seed: int | None,
    ) -> None:
        self.seed = seed
        widths = bucket_widths(max_length, multiple)
        bucket_of = np.searchsorted(widths, longest).astype(np.int16)
        self._buckets: list[_Bucket] = []
        self._batches: list[tuple[int, int]] = []  # bucket, and which of its batches
        for b in np.unique(bucket_of):
            # int32: half of what NumPy's own index would take.
            pairs = np.flatnonzero(bucket_of == b).astype(np.int32)
            most = max(1, batch_tokens // widths[b])
            batches = -(-len(pairs) // most)
            self._batches += [(len(self._buckets), i) for i in range(batches)]
            self._buckets.append(_Bucket(widths[b], -(-len(pairs) // batches), pairs))

    def __len__(self) -> int:
        return len(self._batches)

    def shapes(self) -> list[tuple[int, int]]:
        """Rows and width of each bucket's batches."""
        return [(bucket.rows, bucket.width) for bucket in self._buckets]

    def epoch(self, number: int) -> list[PairRows]:
        """The batches of an epoch, counted from 0: of a seed and a number always the same."""
        pairs = [bucket.pairs for bucket in self._buckets]
        order = list(self._batches)
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, number])
            pairs = [rng.permutation(each) for each in pairs]
            order = [order[i] for i in rng.permutation(len(order))]
        # Keras takes what the first two batches have in common for the shape of all.
        for i in range(2, len(order)):
            if order[0][0] != order[1][0]:
                break
            if order[i][0] != order[0][0]:
                order[1], order[i] = order[i], order[1]
        chosen = []
        for b, i in order:
            width, rows, _ = self._buckets[b]
            chosen.append(PairRows(width, rows, pairs[b][i * rows : (i + 1) * rows]))
        return chosen
