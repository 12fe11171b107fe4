"""What goes wrong with a cluster."""

from __future__ import annotations

from keras_int8nmt.errors import KerasInt8nmtError


class ClusterError(KerasInt8nmtError, RuntimeError):
    """A cluster can't translate: no node can, or a window fails wherever it is tried."""


class RayMissingError(KerasInt8nmtError, ImportError):
    """Ray is not installed."""
