"""`InverseSquareRoot`: the learning rate of Vaswani et al. 2017."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_int8nmt._arguments import MOST_INT32, number, whole


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class InverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """Rises to `peak` in a straight line and falls with the square root of the step.

    In the paper (section 5.3) the peak is `(model_dim * warmup_steps) ** -0.5`.

    Args:
        peak: The highest rate.
        warmup_steps: The step that has it.
        name: Name of the schedule.

    Example:

        >>> rate = InverseSquareRoot(7e-4, warmup_steps=4000)
        >>> optimizer = keras.optimizers.Adam(rate, beta_2=0.98, epsilon=1e-9)
    """

    def __init__(
        self, peak: float, warmup_steps: int = 4000, name: str = "inverse_square_root"
    ) -> None:
        super().__init__()
        self.peak = number("peak", peak, 0.0, float(MOST_INT32))
        self.warmup_steps = whole("warmup_steps", warmup_steps, 1, MOST_INT32)
        self.name = name

    def __call__(self, step: Any) -> Any:
        """The rate of a step, counted from 0."""
        # The paper counts from 1: the first step moves something.
        done = ops.cast(step, "float32") + 1.0
        return self.peak * ops.minimum(done / self.warmup_steps, ops.sqrt(self.warmup_steps / done))

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "name": self.name}
