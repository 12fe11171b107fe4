"""Translation on the nodes of a Ray cluster: data sets and files. Ray is imported here alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "ClusterError": "clusters.errors",
    "RayMissingError": "clusters.errors",
    "translate_dataset": "clusters.datasets",
}

__all__ = [
    "ClusterError",
    "RayMissingError",
    "translate_dataset",
]

if TYPE_CHECKING:
    from keras_int8nmt.clusters.datasets import translate_dataset
    from keras_int8nmt.clusters.errors import ClusterError, RayMissingError
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
