"""`Seen`: what an observer has counted, in variables that the graph writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_int8nmt.layers.observing.branches import assign_if, in_tensorflow_graph
from keras_int8nmt.layers.observing.channel_statistics import ChannelStatistics, add_channels
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
        return _added(state, x, mask, self.channels.channels)

    def add_if(self, condition: Any, x: Any, mask: Callable[[], Any]) -> None:
        """TensorFlow: counts `x` in the variables where `condition` holds."""
        if condition is False or (not in_tensorflow_graph() and not condition):
            return
        counted = mask()
        if counted is not None:
            counted = ops.cast(counted, "bool")
        arguments = ops.convert_to_tensor(x), counted, self.channels.channels
        assign_if(condition, self.variables, _added, *arguments)

    def reset(self) -> None:
        """Forgets everything."""
        nothing = (*NOTHING, *[0] * (len(self.variables) - len(NOTHING)))
        for variable, value in zip(self.variables, nothing, strict=True):
            variable.assign(np.full(variable.shape, value, variable.dtype))

    def to_histogram(self) -> Histogram:
        """The histogram, as NumPy."""
        return _histogram([variable.numpy() for variable in self.variables[: len(NOTHING)]])

    def gather(self) -> None:
        """Puts together what replicas saw.

        Under a TensorFlow strategy each replica counts in a copy of its own of every variable, and
        whoever reads the variable gets the first one: that has all of it afterwards.
        """
        copies = [_copies(variable) for variable in self.variables]
        if len(copies[0]) == 1:
            return
        states = zip(*copies, strict=True)
        by_replica = [[np.asarray(copy.numpy()) for copy in state] for state in states]
        histogram = _histogram(by_replica[0])
        for state in by_replica[1:]:
            histogram = histogram.merge(_histogram(state))
        channels = self.channels.together([state[len(NOTHING) :] for state in by_replica])
        self.reset()
        gathered: tuple[Any, ...] = (
            histogram.counts,
            histogram.exponent,
            histogram.minimum,
            histogram.maximum,
            histogram.nonfinite,
            *channels,
        )
        for (first, *_), value in zip(copies, gathered, strict=True):
            kind = first.dtype.as_numpy_dtype
            whole = np.issubdtype(kind, np.integer)
            kept = np.clip(value, None, np.iinfo(kind).max) if whole else value
            first.assign(np.asarray(kept, kind))


def _added(state: State, x: Any, mask: Any, channels: int | None) -> State:
    histogram, statistics = state[: len(NOTHING)], state[len(NOTHING) :]
    return *add_batch(histogram, x, mask), *add_channels(statistics, x, mask, channels)


def _histogram(state: Sequence[Any]) -> Histogram:
    counts, exponent, minimum, maximum, nonfinite = state[: len(NOTHING)]
    return Histogram(
        counts=np.asarray(counts).astype(np.int64),
        exponent=int(exponent),
        minimum=float(minimum),
        maximum=float(maximum),
        nonfinite=int(nonfinite),
    )


def _copies(variable: Any) -> Sequence[Any]:
    """Those that the replicas of a TensorFlow strategy have of a variable; else itself."""
    strategy = getattr(variable.value, "distribute_strategy", None)
    if strategy is None:
        return (variable,)
    return list(strategy.experimental_local_results(variable.value))
