"""`Seen`: what an observer has counted, in variables that the graph writes."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_int8nmt.layers.observing.channel_statistics import ChannelStatistics
from keras_int8nmt.layers.observing.graph_histogram import add_batch
from keras_int8nmt.thresholds.histogram import MIN_EXPONENT, Histogram

# Histogram, exponent, minimum, maximum and nonfinite of an observer that saw nothing.
NOTHING = (0, MIN_EXPONENT, np.inf, -np.inf, 0)

State = tuple[Any, ...]


class Seen:
    """Reads and writes the variables of a histogram and of the statistics of channels.

    Args:
        histogram: Variables of counts, exponent, minimum, maximum and values not finite.
        channels: The statistics, built.
    """

    def __init__(self, histogram: State, channels: ChannelStatistics) -> None:
        self.channels = channels
        self.variables: State = (*histogram, *channels.state_variables())

    def state(self) -> State:
        """What the variables hold, as tensors."""
        return tuple(ops.convert_to_tensor(variable) for variable in self.variables)

    def added(self, state: State, x: Any, mask: Any) -> State:
        """The state after one more batch."""
        histogram, channels = state[: len(NOTHING)], state[len(NOTHING) :]
        return *add_batch(histogram, x, mask), *self.channels.add(channels, x, mask)

    def reset(self) -> None:
        """Forgets everything."""
        nothing = (*NOTHING, *[0] * (len(self.variables) - len(NOTHING)))
        for variable, value in zip(self.variables, nothing, strict=True):
            variable.assign(np.full(variable.shape, value, variable.dtype))

    def to_histogram(self) -> Histogram:
        """The histogram, as NumPy."""
        values = [np.asarray(variable.numpy()) for variable in self.variables[: len(NOTHING)]]
        return Histogram(
            counts=values[0].astype(np.int64),
            exponent=int(values[1]),
            minimum=float(values[2]),
            maximum=float(values[3]),
            nonfinite=int(values[4]),
        )
