"""`OwnState`: variables of a layer that are saved with it and are none of its weights."""

from __future__ import annotations

from typing import Any


class OwnState:
    """Before `keras.layers.Layer` among the bases of what a Quant layer has beside its parent.

    Its variables are in `variables`, as those of Keras' seed generators are, and in saved files;
    they are not in `weights`, so that `get_weights`, `set_weights`, `count_params` and `summary` of
    a Quant layer are those of its Keras parent.
    """

    @property
    def weights(self) -> list[Any]:
        """None."""
        return []
