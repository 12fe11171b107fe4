"""The entropy calibration that TensorRT published.

S. Migacz, "8-bit Inference with TensorRT", GTC 2017 (talk S7310), slides "Entropy Calibration -
pseudocode": 2048 bins of |x|; for each i from the number of levels (128) to 2048, P is the first i
bins with all that lies beyond added to the last, Q is the first i bins merged into 128 levels and
spread out again over those that are not empty, and of the i with the smallest KL(P || Q) the
threshold is i + 1/2 bins.

The search of `kl` is a descendant: there bins are half as wide, clipping into an empty last
level costs in proportion to what is clipped, where here it is infinitely bad, and the threshold
stands at the edge of a bin. What the slides leave open: the bins reach to a power of two, as those
of histograms that grow; a bin belongs to the level that its share of the range is in; the count at
zero is that of the bin beside it, as in NVIDIA's pytorch-quantization, since zeros have a code of
their own; and a threshold that clips more than half of the values is not looked at, since data
with nothing near zero would be clipped to their first bin, which P and Q agree on.
"""

from __future__ import annotations

import numpy as np

from keras_int8nmt.thresholds.histogram import HALF
from keras_int8nmt.thresholds.kl import divergences

BINS = 2048
_MERGED = HALF // BINS


def entropy_bins(counts: np.ndarray, levels: int) -> float:
    """How many bins from zero outwards to keep, by TensorRT's search.

    Args:
        counts: Counts of |x|, `[4096]`, from zero outwards.
        levels: Integer levels: 128, or 256 for uint8 without a zero point.

    Returns:
        The threshold in bins of `counts`; it may lie past the last one that is occupied.
    """
    kept = best_candidate(np.reshape(counts, (BINS, _MERGED)).sum(axis=1), levels)
    return (kept + 0.5) * _MERGED


def best_candidate(counts: np.ndarray, levels: int) -> int:
    """The number of bins with the smallest divergence; of equal ones the most.

    Args:
        counts: Counts of |x|, any number of bins.
        levels: The fewest bins that are tried.
    """
    occupied = np.flatnonzero(counts)
    used = int(occupied[-1]) + 1 if occupied.size else 0
    counts = counts[:used].astype(np.float64)
    if used <= levels or not counts[1:].any():
        return used
    counts[0] = counts[1]
    candidates = np.arange(used, levels - 1, -1)
    found = divergences(counts, levels, candidates, empty=0.0)
    return int(candidates[np.argmin(found)])
