"""`SmoothedCrossEntropy`: the loss of Transformers, on labels that are ids."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_int8nmt._arguments import number


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits against ids, of which a part is spread over all tokens.

    Keras smooths one-hot labels only, which would be as large as the logits (label smoothing:
    Szegedy et al. 2016, section 7; 0.1 in Vaswani et al. 2017).

    Args:
        smoothing: The part that is spread, from 0 to 1.
        reduction: By default the mean over tokens with a weight, so that it does not depend on how
            much of a batch is padding.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`.

    Example:

        >>> model.compile("adam", SmoothedCrossEntropy(0.1))
    """

    def __init__(
        self,
        smoothing: float = 0.1,
        reduction: str | None = "mean_with_sample_weight",
        name: str = "smoothed_cross_entropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.smoothing = number("smoothing", smoothing, 0.0, 1.0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        # Keras has cast the labels to the dtype of the logits.
        labels = ops.expand_dims(ops.cast(y_true, "int32"), -1)
        right = ops.take_along_axis(y_pred, labels, axis=-1)[..., 0]
        log_sum = ops.logsumexp(y_pred, axis=-1)
        spread = ops.mean(y_pred, axis=-1)
        return log_sum - (1.0 - self.smoothing) * right - self.smoothing * spread

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing}
