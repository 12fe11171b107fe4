"""A model that is hard to quantize: the same float function, with outlier channels put in.

Large language models have activation channels a hundred times as large as the rest (Dettmers et
al. 2022, arXiv 2208.07339); small translation models do not. What such channels do to INT8, and
what undoes it, can be measured on a model that was given some.
"""

from __future__ import annotations

import numpy as np

from keras_int8nmt.calibration.channel_scaling import scaling_sites
from keras_int8nmt.models.build import copy_weights
from keras_int8nmt.models.transformer import Transformer

# Chosen on 500 sentences of the validation set of Tatoeba En-De with the built-in model, as the
# mildest of what was tried with which INT8 in the mode "symmetric" loses more than 2 BLEU: float
# 37.9; a tenth of the channels 64 times as large: 36.6; 256 times: 32.7; a quarter of them 64
# times as large: 37.0.
DEFAULT_SHARE = 0.1
DEFAULT_FACTOR = 256
KINDS = ("norm", "ffn")


def make_hard(
    model: Transformer,
    *,
    share: float = DEFAULT_SHARE,
    factor: int = DEFAULT_FACTOR,
    kinds: tuple[str, ...] = KINDS,
    seed: int = 0,
) -> Transformer:
    """A copy of a `Transformer` with outlier channels, and the same float outputs to the bit.

    In each norm that only products read, and between the feed-forward layers, a few channels are
    multiplied, and the weights that read them divided, by `factor`.

    Args:
        model: A `Transformer` with `quant=True`, calibrated or not; it is not changed.
        share: Which part of the channels become outliers, in (0, 1]; at least one a tensor.
        factor: How much larger they become: a power of two, at least 2, so that nothing is rounded.
        kinds: Where, see `Site.kind`.
        seed: Which channels; the same ones each time.

    Returns:
        A new `Transformer` that is not calibrated.

    Raises:
        ValueError: for a model without observers, or arguments out of range.
    """
    if not isinstance(model, Transformer) or not model.quant:
        raise ValueError("`model` must be a Transformer with quant=True.")
    if not 0 < share <= 1:
        raise ValueError(f"`share` must be in (0, 1]; received {share!r}.")
    if factor < 2 or factor & (factor - 1):
        raise ValueError(f"`factor` must be a power of two of at least 2; received {factor!r}.")
    hard = Transformer.from_config(model.get_config())
    copy_weights(model, hard)
    rng = np.random.default_rng(seed)
    chosen = [site for site in scaling_sites(hard) if site.kind in kinds]
    if not chosen:
        raise ValueError(f"The model has no tensor of the kinds {kinds!r} to put outliers in.")
    for site in chosen:
        outliers = rng.choice(site.channels, max(1, round(share * site.channels)), replace=False)
        factors = np.ones(site.channels)
        factors[outliers] = 1.0 / factor
        site.divide(factors)
    return hard
