"""`CalibrationCallback`: when to start watching, when to stop, when to settle thresholds."""

from __future__ import annotations

from typing import Any

import keras

from keras_int8nmt.layers.light_training import LightTraining
from keras_int8nmt.layers.model_state import reset, set_state, settle
from keras_int8nmt.thresholds.modes import DEFAULT_MODE, parse_mode


class CalibrationCallback(keras.callbacks.Callback):
    """Calibrates a model while Keras runs over data (arXiv 1906.00532, section 4).

    Pass it to `evaluate` or `predict` (`predict` needs no compiled model) with a few hundred
    representative samples, or to `fit`. At the beginning the observers are emptied and switched on,
    at the end they are switched off and thresholds are chosen; the model then computes in float as
    before and can be given to `convert` or `simulate`. The switch is a variable: nothing is
    retraced (but for a model of `build_transformer` that an earlier `fit` trained without this
    callback), `jit_compile=True` works, and a second run calibrates anew.

    Args:
        mode: How thresholds are chosen: one of `calibration.MODES`, such as `"symmetric"` or
            `"percentile:99.9"`; see `calibration.find_thresholds`.
        epoch: For `fit`: the first epoch, counted from 0, to observe; observing goes on to the last
            epoch. By default only the last epoch is observed. Validation data inside `fit` is not
            observed.
        unsigned: Whether tensors without negative values, as after ReLU, become uint8. False: they
            become int8 like all others.

    Attributes:
        thresholds: After a run, `(threshold_min, threshold_max)` by observer path.

    Raises:
        ValueError: for an unknown mode or a negative epoch, when the model is not built or has no
            observers, and when `fit` ends before `epoch`.
        CalibrationError: at the end, naming every layer that saw no data, or NaN or infinite
            values.

    Example:

        >>> model.evaluate(sample, callbacks=[CalibrationCallback()])
        >>> model.predict(sample, callbacks=[CalibrationCallback(mode="symmetric")])
        >>> model.fit(data, epochs=10, callbacks=[CalibrationCallback(epoch=9)])
    """

    def __init__(
        self, mode: str = DEFAULT_MODE, epoch: int | None = None, *, unsigned: bool = True
    ) -> None:
        super().__init__()
        parse_mode(mode)
        if epoch is not None and epoch < 0:
            raise ValueError(f"`epoch` counts from 0; received {epoch}.")
        self.mode = mode
        self.epoch = epoch
        self.unsigned = unsigned
        self.thresholds: dict[str, tuple[float, float]] = {}
        self._fitting = False
        self._observed = False

    def set_params(self, params: Any) -> None:
        # Keras calls this at the start of each run, after a run that failed half-way too.
        super().set_params(params)
        self._fitting = False

    def _start(self) -> None:
        reset(self.model)
        set_state(self.model, "observing")
        self._observed = True

    def _finish(self) -> None:
        # On JAX the state is back in the model's variables only now, before the end hooks.
        set_state(self.model, "float")
        self.thresholds = settle(self.model, self.mode, unsigned=self.unsigned)

    def on_test_begin(self, logs: Any = None) -> None:
        if self._fitting:
            # Validation inside fit; the next epoch switches on again.
            if self._observed:
                set_state(self.model, "float")
        else:
            self._start()

    def on_test_end(self, logs: Any = None) -> None:
        if not self._fitting:
            self._finish()

    def on_predict_begin(self, logs: Any = None) -> None:
        self._start()

    def on_predict_end(self, logs: Any = None) -> None:
        self._finish()

    def on_train_begin(self, logs: Any = None) -> None:
        self._fitting = True
        self._observed = False
        if isinstance(self.model, LightTraining):
            # Traced once for epochs with and without observing.
            self.model.follows_switches = True
        epochs = (self.params or {}).get("epochs")
        if self.epoch is not None and epochs is not None and self.epoch >= epochs:
            raise ValueError(
                f"Calibration was asked for from epoch {self.epoch}, counted from 0, but fit has "
                f"only {epochs} epochs."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        first = self.params["epochs"] - 1 if self.epoch is None else self.epoch
        if epoch < first:
            return
        if self._observed:
            set_state(self.model, "observing")
        else:
            self._start()

    def on_train_end(self, logs: Any = None) -> None:
        self._fitting = False
        if self._observed:
            self._finish()
            return
        raise ValueError(
            "fit ended before the epoch that calibration was to observe; nothing was observed."
        )
