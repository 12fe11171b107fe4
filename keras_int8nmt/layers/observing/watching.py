"""What a switch chooses for a tensor on its way: it passes, it is counted, or it is rounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_int8nmt.layers.observing.branches import apply_if, known_on_jax
from keras_int8nmt.layers.observing.seen import Seen
from keras_int8nmt.layers.observing.switch import OBSERVING, OFF, SIMULATING, says


def watched(
    switch: Any,
    x: Any,
    seen: Seen,
    mask: Callable[[], Any],
    simulate: Callable[..., Any],
    numbers: tuple[Any, ...],
) -> Any:
    """`x`, or what `simulate` makes of it where `switch` says SIMULATING.

    Args:
        switch: Variable, int32: OFF, OBSERVING or SIMULATING.
        x: Float tensor.
        seen: Where `x` is counted while observing.
        mask: Makes the mask over the leading axes of `x`, or None.
        simulate: Makes the tensor that the codes of `x` stand for, of `x` and `numbers`; a
            function of a module, see `apply_if`.
        numbers: Tensors.
    """
    observing = says(switch, OBSERVING)
    if keras.config.backend() == "tensorflow":
        # A TensorFlow variable can be assigned in a branch: when off nothing else runs.
        seen.add_if(observing, x, mask)
        return apply_if(says(switch, SIMULATING), simulate, x, *numbers)
    known = known_on_jax(switch.value)
    if known == OFF:
        return x
    if known == SIMULATING:
        return simulate(x, *numbers)
    # Other back ends carry the state out of the branch: an assignment inside would leak.
    state = seen.state()
    output, new_state = ops.cond(
        ops.equal(switch.value, OFF),
        lambda: (x, state),
        lambda: ops.cond(
            observing,
            lambda: (x, seen.added(state, x, mask())),
            lambda: (simulate(x, *numbers), state),
        ),
    )
    for variable, value in zip(seen.variables, new_state, strict=True):
        variable.assign(value)
    return output
