"""`Observer`: watches one tensor; owns its histogram, its thresholds and its switch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_int8nmt.layers.observing.channel_statistics import ChannelStatistics
from keras_int8nmt.layers.observing.code_range import params_of, quantizer_numbers
from keras_int8nmt.layers.observing.exported import written
from keras_int8nmt.layers.observing.fake_quant import fake_quantize, fake_quantize_weights_if
from keras_int8nmt.layers.observing.learned_threshold import (
    LearnedThreshold,
    fake_quantize_learned,
    learned_numbers,
)
from keras_int8nmt.layers.observing.own_state import OwnState
from keras_int8nmt.layers.observing.seen import NOTHING, Seen
from keras_int8nmt.layers.observing.switch import OFF, SIMULATING, says
from keras_int8nmt.layers.observing.watching import watched
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.thresholds.errors import NotCalibratedError
from keras_int8nmt.thresholds.histogram import BINS, Histogram


@keras.saving.register_keras_serializable(package="keras_int8nmt")
class Observer(OwnState, keras.layers.Layer):
    """Watches one float tensor on its way through a layer (arXiv 1906.00532, section 4).

    What it does is told by the variable `switch`, so that nothing is retraced when it changes:
    0 off: the tensor passes; 1 observing: it is counted and passes; 2 simulating: it is rounded and
    clipped as int8 or uint8 would be, with straight-through gradients.

    Variables (no weights, see `OwnState`; never cast by a mixed dtype policy): `histogram` int32
    `[8192]` over [-2^e, 2^e), `exponent` (e) int32, `minimum` and `maximum` float32, `nonfinite`
    int32 (values that were NaN or infinite), `threshold_min` and `threshold_max` float32 (NaN until
    calibrated), `quantizer` float32 `[4]` (scale, zero point, lowest and highest code, which follow
    from the thresholds) and `switch` int32. Counts stop at 2^31 - 1. `channel_statistics` holds the
    mean and the largest magnitude of each channel, `learned` how far the thresholds have moved in
    quantization-aware training; see `prepare_training`.

    Args:
        signed: Whether the tensor is always symmetric int8, whatever the mode (Q, K and V, which
            are multiplied with each other).
        optional: Whether it may see nothing: the layer then has another observer stand in.
        channel_axes: How many of the last axes number the channels, see `ChannelStatistics`.

    Call arguments:
        inputs: Float tensor of any shape.
        mask: Bool mask over the leading axes of `inputs`; false positions are not counted.

    Returns:
        `inputs`, or when simulating the values that its codes stand for; same shape and dtype.
    """

    def __init__(
        self, signed: bool = False, optional: bool = False, channel_axes: int = 1, **kwargs: Any
    ) -> None:
        kwargs.update(dtype="float32", trainable=False, autocast=False)
        super().__init__(**kwargs)
        self.signed = signed
        self.optional = optional
        self.channel_statistics = ChannelStatistics(channel_axes, name="channel_statistics")
        self.supports_masking = True
        self.learned = LearnedThreshold(name="learned")
        # Read while tracing or running eagerly: a function that is shown each tensor, or None.
        self.tap: Callable[[Any], None] | None = None
        # What a graph that is exported has instead of the variables; see `ranges_in_exports`.
        self.constant: QuantParams | None = None

    def build(self, input_shape: Any = None) -> None:
        _, exponent, minimum, maximum, _ = NOTHING
        self.histogram = self.add_state("histogram", "int32", 0, (BINS,))
        self.exponent = self.add_state("exponent", "int32", exponent)
        self.minimum = self.add_state("minimum", "float32", minimum)
        self.maximum = self.add_state("maximum", "float32", maximum)
        self.nonfinite = self.add_state("nonfinite", "int32", 0)
        self.threshold_min = self.add_state("threshold_min", "float32", np.nan)
        self.threshold_max = self.add_state("threshold_max", "float32", np.nan)
        self.quantizer = self.add_state("quantizer", "float32", np.nan, (4,))
        self.switch = self.add_state("switch", "int32", OFF)
        self.channel_statistics.build(input_shape)
        counted = self.histogram, self.exponent, self.minimum, self.maximum, self.nonfinite
        self.seen = Seen(counted, self.channel_statistics)
        self.built = True

    @property
    def weights(self) -> list[Any]:
        """Of thresholds that train, since an optimizer has them; else none."""
        return list(self.learned.weights)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return self.watch(inputs, mask)

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> Any:
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def watch(
        self,
        x: Any,
        mask: Any | Callable[[], Any] = None,
        stand_ins: tuple[Observer, ...] = (),
    ) -> Any:
        """What `call` does, for a layer that holds observers.

        Args:
            x: Float tensor.
            mask: As in the call, or a function that makes the mask, called where something may
                observe: eagerly only while it does.
            stand_ins: Observers whose thresholds serve, in this order, while this one has none.
        """
        if self.tap is not None:
            self.tap(x)
        constants = [o.constant for o in (self, *stand_ins) if o.constant is not None]
        if constants:
            return written(x, constants[0])
        return watched(
            self.switch,
            x,
            self.seen,
            lambda: mask() if callable(mask) else mask,
            *self._rule(stand_ins),
        )

    def observe(self, x: Any, mask: Any = None) -> None:
        """Counts `x` now, whatever the switch says."""
        new_state = self.seen.added(self.seen.state(), x, mask)
        for variable, value in zip(self.seen.variables, new_state, strict=True):
            variable.assign(value)

    def fake_quantize(self, x: Any, stand_ins: tuple[Observer, ...] = ()) -> Any:
        """`x` as its codes stand for it, whatever the switch says; straight-through gradients."""
        simulate, numbers = self._rule(stand_ins)
        return simulate(x, *numbers)

    def _rule(self, stand_ins: tuple[Observer, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """What rounds and clips a tensor, and the tensors that it needs for that."""
        watchers = self, *stand_ins
        if any(observer.learned.active for observer in watchers):
            return fake_quantize_learned, learned_numbers(watchers)
        return fake_quantize, tuple(ops.convert_to_tensor(o.quantizer) for o in watchers)

    def quantize_weights(self, weights: Any, summed: int = 1) -> Any:
        """`weights`, or when this observer simulates, as int8 per output channel stands for them.

        Args:
            weights: Kernel of the product that reads the observed tensor.
            summed: How many leading axes of the kernel the product sums over.
        """
        simulating = says(self.switch, SIMULATING)
        return fake_quantize_weights_if(simulating, ops.convert_to_tensor(weights), summed)

    def set_switch(self, value: int) -> None:
        """Sets the state: 0 off, 1 observing, 2 simulating."""
        self.switch.assign(value)

    @property
    def is_calibrated(self) -> bool:
        """Whether the observer has thresholds."""
        return self.built and not bool(np.isnan(self.thresholds()[0]))

    def thresholds(self) -> tuple[np.float32, np.float32]:
        """`(threshold_min, threshold_max)`, as learned so far; NaN until calibrated."""
        low, high = (np.float32(t.numpy()) for t in (self.threshold_min, self.threshold_max))
        return self.learned.grown(low, high)

    def set_thresholds(self, threshold_min: float, threshold_max: float) -> None:
        """Sets the range that codes stand for, and with it scale and zero point.

        Args:
            threshold_min: Smallest value that is not clipped, at most 0.
            threshold_max: Largest value that is not clipped, at least 0.
        """
        low, high = np.float32(threshold_min), np.float32(threshold_max)
        numbers = quantizer_numbers(params_of(low, high, self.signed))
        self.learned.reset()
        self.threshold_min.assign(low)
        self.threshold_max.assign(high)
        self.quantizer.assign(numbers)

    def clear_thresholds(self) -> None:
        """Makes the observer uncalibrated again."""
        self.learned.stop()
        self.threshold_min.assign(np.float32(np.nan))
        self.threshold_max.assign(np.float32(np.nan))
        self.quantizer.assign(np.full(4, np.nan, np.float32))

    def params(self) -> QuantParams:
        """Scale, zero point and integer type.

        Raises:
            NotCalibratedError: if there are no thresholds yet.
        """
        if not self.is_calibrated:
            raise NotCalibratedError([self.path or self.name])
        return params_of(*self.thresholds(), self.signed)

    def as_new(self) -> None:
        self.reset()
        self.clear_thresholds()
        self.set_switch(OFF)

    def reset(self) -> None:
        """Forgets what was seen; thresholds stay."""
        self.seen.reset()

    def gather(self) -> None:
        """Puts together what the replicas of a TensorFlow strategy saw."""
        self.seen.gather()

    def to_histogram(self) -> Histogram:
        """What was seen, as NumPy."""
        return self.seen.to_histogram()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "signed": self.signed,
            "optional": self.optional,
            "channel_axes": self.channel_statistics.axes,
        }
