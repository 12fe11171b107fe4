"""`ChannelStatistics`: mean and largest magnitude of each channel of a tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_int8nmt.layers.observing.branches import traced_once
from keras_int8nmt.layers.observing.graph_histogram import broadcast_mask, saturating_add
from keras_int8nmt.layers.observing.own_state import OwnState

State = tuple[Any, ...]


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class ChannelStatistics(OwnState, keras.layers.Layer):
    """What an `Observer` saw in each channel of its tensor; it counts only while that observes.

    It is a layer of its own, so that models saved before there was one still load: nothing was
    seen then.

    Variables (no weights), none where the number of channels is not known: `count` int32 `[c]`,
    values seen (it stops at 2^31 - 1), `mean` float32 `[c]` and `largest` float32 `[c]`, the
    largest magnitude. Masked positions and values that are NaN or infinite count nothing.

    Args:
        axes: How many of the last axes number the channels: 2 for `[b, t, heads, dim]`, whose
            channels are `heads * dim`, those of a head side by side.
    """

    def __init__(self, axes: int = 1, **kwargs: Any) -> None:
        kwargs.update(dtype="float32", trainable=False, autocast=False)
        super().__init__(**kwargs)
        self.axes = axes
        self.channels: int | None = None

    def build(self, input_shape: Any = None) -> None:
        sizes = () if input_shape is None else tuple(input_shape)[-self.axes :]
        if len(sizes) == self.axes and None not in sizes:
            self.channels = math.prod(sizes)
            shape = (self.channels,)
            self.count = self.add_state("count", "int32", shape=shape)
            self.mean = self.add_state("mean", "float32", shape=shape)
            self.largest = self.add_state("largest", "float32", shape=shape)
        self.built = True

    def state_variables(self) -> State:
        """`(count, mean, largest)`, or nothing where the number of channels is not known."""
        return () if self.channels is None else (self.count, self.mean, self.largest)

    def add(self, state: State, x: Any, mask: Any = None) -> State:
        """The state after one more batch.

        Args:
            state: What `state_variables` hold.
            x: Values `[..., c]`, or with as many last axes as `axes`, any float dtype.
            mask: None, or a bool mask over the leading axes of `x`; false positions count nothing.
        """
        return add_channels(state, x, mask, self.channels)

    def together(self, states: Sequence[Sequence[np.ndarray]]) -> tuple[np.ndarray, ...]:
        """The state of several, such as replicas, which counted different values."""
        if self.channels is None:
            return ()
        counts, means, largest = (np.stack(parts) for parts in zip(*states, strict=True))
        weights = counts.astype(np.float64)
        total = weights.sum(axis=0)
        mean = (means * weights).sum(axis=0) / np.maximum(total, 1)
        return total.astype(np.int64), mean, largest.max(axis=0)

    @property
    def is_seen(self) -> bool:
        """Whether something was counted."""
        return self.channels is not None and bool(np.any(self._array(self.count)))

    def means(self) -> np.ndarray:
        """float32 `[c]`; 0 where nothing was seen."""
        return self._array(self.mean)

    def largest_magnitudes(self) -> np.ndarray:
        """float32 `[c]`; 0 where nothing was seen."""
        return self._array(self.largest)

    @staticmethod
    def _array(variable: Any) -> np.ndarray:
        return np.array(ops.convert_to_numpy(variable))

    def as_new(self) -> None:
        # Files of releases without these statistics have none either.
        for variable in self.state_variables():
            variable.assign(np.zeros(variable.shape, variable.dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": self.axes}


def add_channels(state: State, x: Any, mask: Any, channels: int | None) -> State:
    """What `ChannelStatistics.add` gives, of `channels` channels; nothing where that is None."""
    if channels is None:
        return ()
    x = ops.cast(ops.stop_gradient(x), "float32")
    counted = ops.ones_like(x, dtype="bool") if mask is None else broadcast_mask(mask, x)
    rows = (-1, channels)
    return _add_rows(*state, ops.reshape(x, rows), ops.reshape(counted, rows))


@traced_once(
    ((None,), "int32"),
    ((None,), "float32"),
    ((None,), "float32"),
    ((None, None), "float32"),
    ((None, None), "bool"),
)
def _add_rows(count: Any, mean: Any, largest: Any, x: Any, counted: Any) -> State:
    counted = ops.logical_and(counted, ops.isfinite(x))
    x = ops.where(counted, x, 0.0)
    new = ops.sum(ops.cast(counted, "int32"), axis=0)
    total = saturating_add(count, new)
    # A running mean: a float32 sum over all batches would lose what the last ones add.
    surplus = ops.sum(x, axis=0) - mean * ops.cast(new, "float32")
    return (
        total,
        mean + surplus / ops.cast(ops.maximum(total, 1), "float32"),
        ops.maximum(largest, ops.max(ops.abs(x), axis=0, initial=0.0)),
    )
