"""`balance`: moves what is hard to quantize from activations to weights; the float function stays.

SmoothQuant (Xiao et al. 2022, arXiv 2211.10438), equations 3 and 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_int8nmt.calibration.channel_scaling import Site, scaling_sites
from keras_int8nmt.calibration.options import DEFAULT_ALPHA
from keras_int8nmt.models.build import copy_weights
from keras_int8nmt.models.transformer import Transformer
from keras_int8nmt.thresholds.errors import NotCalibratedError


def balance(model: Any, alpha: float = DEFAULT_ALPHA) -> Transformer:
    """Balances the ranges of activation channels and of the weights that they are multiplied with.

    A few channels of an activation are often far larger than the others, which one INT8 scale for
    all of them must pay for. Channel j of an activation X with weights W becomes X_j / s_j, and the
    weights W_j s_j, with

        s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)          (arXiv 2211.10438, equation 4)

    wherever the model can take that up by itself: in gamma and beta of a LayerNorm that only
    products read (each one of a pre-norm model; of a post-norm model the encoder's last one, and
    the decoder's last one if the output projection is not tied); in the first feed-forward layer,
    if its activation is ReLU; in the projection of values for the output projection of attention;
    and in the projections of queries and keys, whose largest values become equal. max|X_j| is what
    calibration saw. A channel that was never anything but 0 stays as it is.

    Args:
        model: A calibrated `Transformer` (`quant=True`). It is not changed.
        alpha: From 0 (all that is hard stays with the activations) to 1 (all goes to the weights).

    Returns:
        A new `Transformer`: its float outputs are those of `model` but for rounding. It is an
        ordinary model without thresholds: calibrate it again, then convert it.

    Raises:
        ValueError: for a model of another kind, or an `alpha` out of range.
        NotCalibratedError: naming the observers that saw nothing by channel: the model was not
            calibrated, or by a release that did not keep these statistics.

    Example:

        >>> model.predict(batches, verbose=0, callbacks=[CalibrationCallback()])
        >>> balanced = balance(model)
        >>> balanced.predict(batches, verbose=0, callbacks=[CalibrationCallback()])
        >>> int8 = convert(balanced)
    """
    if not isinstance(model, Transformer) or not model.quant:
        raise ValueError(
            "`model` must be a Transformer with quant=True, as build_transformer and load_marian "
            f"make it; received {getattr(model, 'name', model)!r}, a {type(model).__name__}."
        )
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
        raise ValueError(f"`alpha` must be a number from 0 to 1; received {alpha!r}.")
    seen = scaling_sites(model)
    observers = [o for site in seen for o in (site.observer, site.other) if o is not None]
    unseen = [o.path for o in observers if not o.channel_statistics.is_seen]
    if unseen:
        raise NotCalibratedError(unseen)
    balanced = Transformer.from_config(model.get_config())
    balanced.search_defaults = model.search_defaults
    copy_weights(model, balanced)
    for original, site in zip(seen, scaling_sites(balanced), strict=True):
        site.divide(_factors(original, site, alpha))
    return balanced


def _factors(seen: Site, site: Site, alpha: float) -> np.ndarray:
    """The s of equation 4: activations as `seen` tells, weights as `site` has them by now."""
    activations = _largest(seen.observer)
    if seen.other is not None:
        # Two activations: neither is easier to quantize than the other.
        alpha, others = 0.5, _largest(seen.other)
    else:
        others = np.max([part.largest() for part in site.readers], axis=0)
    usable = (activations > 0) & (others > 0)
    factors = np.ones(len(activations))
    factors[usable] = activations[usable] ** alpha / others[usable] ** (1 - alpha)
    return factors


def _largest(observer: Any) -> np.ndarray:
    return observer.channel_statistics.largest_magnitudes().astype(np.float64)
