"""Ray itself: imported when it is needed, connected to, and asked what nodes there are."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from keras_int8nmt.clusters.errors import RayMissingError


class Node(NamedTuple):
    """A node that is alive and has cores.

    Attributes:
        id: Ray's own, of letters and digits.
        address: Where it is.
        cores: Whole ones, of those that Ray hands out there.
    """

    id: str
    address: str
    cores: int


def ray_module() -> Any:
    """Ray.

    Raises:
        RayMissingError: where it is not installed.
    """
    try:
        # By a name of it: a folder called ray, as Ray leaves one in /tmp, can be imported as well.
        from ray import init as init
    except ImportError as error:
        raise RayMissingError(
            f"Clusters need Ray ({error}): pip install keras-int8nmt[ray]"
        ) from error
    import ray

    return ray


def connect() -> Any:
    """Ray, connected: to the cluster that RAY_ADDRESS names or that runs here, else to a new one.

    Whoever is connected already stays so.
    """
    ray = ray_module()
    if not ray.is_initialized():
        # What workers print is theirs; what concerns a run comes back with its results.
        ray.init(logging_level=logging.WARNING, log_to_driver=False)
    return ray


def nodes(ray: Any) -> list[Node]:
    """The nodes that are alive and have a core, in the order of their ids."""
    found = [
        Node(each["NodeID"], each["NodeManagerAddress"], int(each["Resources"].get("CPU", 0)))
        for each in ray.nodes()
        if each["Alive"]
    ]
    return sorted(node for node in found if node.cores > 0)


def on_node(node: Node) -> Any:
    """Ray's scheduling strategy for this node and no other."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)
