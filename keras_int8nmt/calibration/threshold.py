"""From a histogram to thresholds: pure functions, NumPy only (arXiv 1906.00532, section 4.2).

The KL search: a threshold of i bins clips what lies beyond; P is the histogram up to i with the
clipped counts added to its last bin, Q is the histogram up to i merged into as many groups as there
are integer levels and spread out again over the bins that P occupies. The best i has the smallest
Kullback-Leibler divergence KL(P || Q).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_int8nmt.calibration.errors import CalibrationError
from keras_int8nmt.calibration.histogram import HALF, Histogram

if TYPE_CHECKING:
    from keras_int8nmt.quantization import QuantParams

MODES = ("naive", "symmetric", "independent", "conjugate")

# Levels on one side of zero: int8 symmetric has 0..127, and so has each half of uint8 with a zero
# point. Data without negative values has the 256 levels of uint8 on its one side.
SIDE_LEVELS = 128
NON_NEGATIVE_LEVELS = 256

# What stands in Q for an empty last group: a small part of one count, so that clipping an outlier
# into an empty bin costs in proportion to the outlier's mass and not infinitely much.
_EMPTY = 1e-4
# A threshold that clips more than this share of the values is not looked at: both P and Q would be
# little more than their last bins, and equal for no good reason.
_MAX_CLIPPED = 0.5


def _divergences(counts: np.ndarray, levels: int, candidates: np.ndarray) -> np.ndarray:
    """KL(P || Q) for a threshold after `i` bins, for each i of `candidates`; float64.

    All candidates at once, from running sums: with c counts, the sum over the bins of a group g is
    sum(p log p) - sum_g(p) * log(q_g), and only the last bin of P differs from the counts.
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
    q = np.maximum(group_sums, _EMPTY) / np.maximum(group_bins, 1)
    p_sums = group_sums.copy()
    p_sums[:, -1] += clipped
    p_last = last + clipped
    p_log_p = log_sums[i] - logs[i - 1] + p_last * np.log(np.where(p_last > 0, p_last, 1.0))
    cross = np.sum(np.where(p_sums > 0, p_sums * np.log(q), 0.0), axis=1)
    q_total = np.sum(np.where(group_bins > 0, np.maximum(group_sums, _EMPTY), 0.0), axis=1)
    divergence = (p_log_p - cross) / total + np.log(q_total) - np.log(total)
    return np.where(clipped > _MAX_CLIPPED * total, np.inf, divergence)


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
    return int(candidates[np.argmin(_divergences(counts, levels, candidates))])


def _side(counts: np.ndarray, levels: int, width: float, largest: float) -> float:
    """The KL threshold of one side; what clips nothing is the largest value seen."""
    kept = kl_bins(counts, levels) * width
    return min(kept, largest)


def find_thresholds(
    histogram: Histogram, mode: str = "symmetric", signed: bool = False
) -> tuple[float, float]:
    """Chooses the range that codes stand for.

    Modes, as in arXiv 1906.00532: `naive`: smallest and largest value seen; `symmetric`: KL search
    on the distribution of |x|, the result on both sides; `independent`: KL search on each side by
    itself; `conjugate`: like independent, then the larger of both on both sides. Without negative
    values all but `naive` search the one side with 256 levels, and the lower threshold is 0.

    Args:
        histogram: What was seen.
        mode: One of `MODES`.
        signed: Whether the tensor is symmetric int8 in any case: the thresholds are then
            `(-T, T)`, and the search counts the levels of int8.

    Returns:
        `(threshold_min, threshold_max)`, `threshold_min <= 0 <= threshold_max`, float32 values.

    Raises:
        CalibrationError: if nothing was seen, or NaN or infinite values were.
        ValueError: for an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(f"Unknown calibration mode {mode!r}; expected one of {', '.join(MODES)}.")
    problem = what_is_wrong(histogram)
    if problem:
        raise CalibrationError(f"No thresholds can be chosen: {problem}.")
    # Zero must have a code, so the range always contains it.
    low, high = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    largest = max(-low, high)
    if mode == "naive":
        return (-largest, largest) if signed else (low, high)
    width = histogram.width
    positive = histogram.counts[HALF:]
    negative = histogram.counts[:HALF][::-1]
    if low == 0.0 and not signed:
        return 0.0, _side(positive, NON_NEGATIVE_LEVELS, width, high)
    if mode == "symmetric":
        both = _side(positive + negative, SIDE_LEVELS, width, largest)
        return -both, both
    low = -_side(negative, SIDE_LEVELS, width, -low)
    high = _side(positive, SIDE_LEVELS, width, high)
    if mode == "independent" and not signed:
        return low, high
    both = max(-low, high)
    return -both, both


def what_is_wrong(histogram: Histogram) -> str | None:
    """Why no threshold can be chosen from `histogram`, or None if one can."""
    if histogram.nonfinite:
        return f"{histogram.nonfinite} values were NaN or infinite"
    if histogram.total == 0:
        return "no data was seen"
    return None


def classify(histogram: Histogram) -> str:
    """The kind of distribution, as arXiv 1906.00532 (figure 2) tells them apart.

    Returns:
        `"sparse"`: at least half of the values lie in the two bins at zero (as after ReLU);
        `"narrow"`: 99 % of the values lie within an eighth of the largest magnitude;
        `"gaussian"`: anything else.
    """
    if histogram.total == 0:
        raise CalibrationError("A histogram without data has no kind.")
    magnitudes = histogram.counts[HALF:] + histogram.counts[:HALF][::-1]
    if magnitudes[0] * 2 >= histogram.total:
        return "sparse"
    largest = max(abs(histogram.minimum), abs(histogram.maximum))
    within = int(largest / 8 / histogram.width) + 1
    return "narrow" if magnitudes[:within].sum() >= 0.99 * histogram.total else "gaussian"


def clipped_mass(histogram: Histogram, threshold_min: float, threshold_max: float) -> float:
    """The share of values outside `[threshold_min, threshold_max]`, from 0 to 1.

    A bin that a threshold cuts belongs to the side that its middle is on.
    """
    if histogram.total == 0:
        return 0.0
    centers = np.clip(histogram.centers(), histogram.minimum, histogram.maximum)
    outside = (centers < threshold_min) | (centers > threshold_max)
    return float(histogram.counts[outside].sum() / histogram.total)


def sqnr_db(histogram: Histogram, params: QuantParams) -> float:
    """Signal power over quantization noise power in dB, from the histogram.

    Values are taken as spread evenly over their bin (8 points each). Without signal it is 0,
    without noise infinity.
    """
    from keras_int8nmt.quantization import dequantize, quantize

    occupied = np.flatnonzero(histogram.counts)
    points = (np.arange(8) + 0.5) / 8
    values = (occupied[:, None] - HALF + points) * histogram.width
    values = np.clip(values, histogram.minimum, histogram.maximum).astype(np.float32)
    errors = dequantize(quantize(values, params), params).astype(np.float64) - values
    weights = histogram.counts[occupied, None]
    signal = float(np.sum(weights * np.square(values.astype(np.float64))))
    noise = float(np.sum(weights * np.square(errors)))
    if signal == 0.0:
        return 0.0
    return float("inf") if noise == 0.0 else 10.0 * float(np.log10(signal / noise))
