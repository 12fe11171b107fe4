"""The search of arXiv 1906.00532, section 4.2, for a threshold by Kullback-Leibler divergence.

A threshold of i bins clips what lies beyond; P is the histogram up to i with the clipped counts
added to its last bin, Q is the histogram up to i merged into as many groups as there are integer
levels and spread out again over the bins that P occupies. The best i has the smallest KL(P || Q).
"""

from __future__ import annotations

import numpy as np

# What stands in Q for an empty last group: a small part of one count, so that clipping an outlier
# into an empty bin costs in proportion to the outlier's mass and not infinitely much.
EMPTY = 1e-4
# A threshold that clips more than this share of the values is not looked at: both P and Q would be
# little more than their last bins, and equal for no good reason.
MAX_CLIPPED = 0.5


def divergences(
    counts: np.ndarray,
    levels: int,
    candidates: np.ndarray,
    *,
    empty: float = EMPTY,
) -> np.ndarray:
    """KL(P || Q) for a threshold after `i` bins, for each i of `candidates`; float64.

    All candidates at once, from running sums: with c counts, the sum over the bins of a group g is
    sum(p log p) - sum_g(p) * log(q_g), and only the last bin of P differs from the counts.

    Args:
        counts: Counts of one side, from zero outwards.
        levels: Groups that Q is merged into.
        candidates: int `[n]`, each from 1 to the number of bins.
        empty: What stands in Q for an empty last group into which P clips; 0: the divergence of
            such a threshold is infinite.
    """
    counts = counts.astype(np.float64)
    occupied = counts > 0
    logs = np.where(occupied, counts * np.log(np.where(occupied, counts, 1.0)), 0.0)
    sums = np.concatenate(([0.0], np.cumsum(counts)))
    bins = np.concatenate(([0], np.cumsum(occupied)))
    log_sums = np.concatenate(([0.0], np.cumsum(logs)))
    total = sums[-1]

    i = candidates[:, None]
    # Group g holds the bins from ceil(g * i / levels) up to the next such edge.
    edges = -(-np.arange(levels + 1)[None, :] * i // levels)
    group_sums = np.diff(sums[edges], axis=1)
    group_bins = np.diff(bins[edges], axis=1)
    i = candidates
    inside = sums[i]
    clipped = total - inside
    last = counts[i - 1]
    # P's last bin is occupied as soon as anything is clipped into it.
    group_bins[:, -1] += (last == 0) & (clipped > 0)
    q = np.maximum(group_sums, empty) / np.maximum(group_bins, 1)
    p_sums = group_sums.copy()
    p_sums[:, -1] += clipped
    p_last = last + clipped
    p_log_p = log_sums[i] - logs[i - 1] + p_last * np.log(np.where(p_last > 0, p_last, 1.0))
    q_total = np.sum(np.where(group_bins > 0, np.maximum(group_sums, empty), 0.0), axis=1)
    # Where P has something and Q nothing, the divergence is infinite.
    impossible = np.any((p_sums > 0) & (q == 0), axis=1) | (clipped > MAX_CLIPPED * total)
    log_q = np.log(np.where(q > 0, q, 1.0))
    cross = np.sum(p_sums * log_q, axis=1)
    q_log_total = np.log(np.where(q_total > 0, q_total, 1.0))
    divergence = (p_log_p - cross) / total + q_log_total - np.log(total)
    return np.where(impossible, np.inf, divergence)


def kl_bins(counts: np.ndarray, levels: int) -> int:
    """How many bins from zero outwards to keep, by the KL search.

    Args:
        counts: Counts of one side, from zero outwards.
        levels: Integer levels on this side.

    Returns:
        The threshold in bins, from 0 (no counts) to the last occupied bin + 1.
    """
    occupied = np.flatnonzero(counts)
    if occupied.size == 0:
        return 0
    used = int(occupied[-1]) + 1
    if used <= levels:
        return used
    counts = counts[:used].astype(np.float64)
    # Zero has a code of its own and costs nothing, however many zeros there are: without this the
    # zeros of padding or ReLU would be the whole distribution.
    counts[0] = counts[1]
    if not counts.any():
        return used
    # Downwards, so that of equal divergences the threshold that clips less wins.
    candidates = np.arange(used, levels - 1, -1)
    return int(candidates[np.argmin(divergences(counts, levels, candidates))])
