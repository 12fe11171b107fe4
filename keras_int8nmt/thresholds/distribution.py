"""What a histogram tells of a tensor: its kind, and what thresholds and codes do to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_int8nmt.thresholds.errors import CalibrationError
from keras_int8nmt.thresholds.histogram import HALF, Histogram

if TYPE_CHECKING:
    from keras_int8nmt.quantization import QuantParams


# Per cent of the values at zero from which on a tensor is sparse; per cent within an eighth of the
# largest magnitude from which on it is narrow.
_SPARSE, _NARROW = 50, 99


def classify(histogram: Histogram) -> str:
    """The kind of distribution, as arXiv 1906.00532 (figure 2) tells them apart.

    The paper shows an example of each kind and gives no numbers; the rule here is, in this order:

    1. `"sparse"`: at least half of the values are next to nothing, that is, in the two bins
       beside zero. A bin is between 1/4096 and 1/2048 of the largest magnitude. So is
       what ReLU leaves.
    2. `"narrow"`: at least 99 per cent of the values lie within an eighth of the largest magnitude,
       to the end of the bin that this eighth is in: a few outliers far out make the range.
    3. `"gaussian"`: anything else.

    Args:
        histogram: What was seen.

    Raises:
        CalibrationError: if nothing was seen.

    Example:

        >>> classify(Histogram().add(np.array([0.0, 0.0, 1.0])))
        'sparse'
    """
    if histogram.total == 0:
        raise CalibrationError("A histogram without data has no kind.")
    magnitudes = histogram.counts[HALF:] + histogram.counts[:HALF][::-1]
    if 100 * magnitudes[0] >= _SPARSE * histogram.total:
        return "sparse"
    largest = max(abs(histogram.minimum), abs(histogram.maximum))
    within = int(largest / 8 / histogram.width) + 1
    if 100 * magnitudes[:within].sum() >= _NARROW * histogram.total:
        return "narrow"
    return "gaussian"


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
