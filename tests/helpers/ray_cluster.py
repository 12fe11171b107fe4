"""A Ray cluster of several nodes in processes of this machine, and what kills parts of it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


class LocalCluster:
    """Nodes with cores, and a head without any; a context manager that is connected to it.

    Args:
        nodes: How many.
        cores: Of each, in Ray's book.
    """

    def __init__(self, nodes: int = 3, cores: int = 1) -> None:
        self._count, self._cores = nodes, cores
        self._cluster: Any = None
        self.nodes: list[Any] = []

    def __enter__(self) -> LocalCluster:
        import ray
        from ray.cluster_utils import Cluster

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        settings = {"object_store_memory": 100 << 20, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **settings})
        self.nodes = [self._add() for _ in range(self._count)]
        ray.init(address=self._cluster.address, log_to_driver=False, logging_level="ERROR")
        self._cluster.wait_for_nodes()
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()
        self._cluster.shutdown()

    def _add(self) -> Any:
        for left in (2, 1, 0):
            try:
                return self._cluster.add_node(num_cpus=self._cores, object_store_memory=100 << 20)
            except Exception:  # Ray's plain one where a node is not there within 30 s
                if not left:
                    raise
        raise AssertionError

    def replace_node(self, chance: random.Random) -> None:
        """A node dies with all that runs there, and another one joins."""
        at = chance.randrange(len(self.nodes))
        self._cluster.remove_node(self.nodes[at], allow_graceful=False)
        self.nodes[at] = self._add()

    def kill_actor(self, chance: random.Random) -> bool:
        """Kills a process that an actor of ours is in; whether there was one."""
        found = self.actors()
        if found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(found), signal.SIGKILL)
        return bool(found)

    def actors(self) -> list[int]:
        """Processes of our actors, by their ids: those that the nodes of this cluster began."""
        raylets, found = self.raylets(), []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                # PID (NAME) STATE PPID ...
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in raylets and b"NodeTranslator" in (place / "cmdline").read_bytes():
                    found.append(int(place.name))
        return sorted(found)

    def raylets(self) -> list[int]:
        """Processes of the nodes themselves, by their ids."""
        return [
            info.process.pid for node in self.nodes for info in node.all_processes.get("raylet", [])
        ]

    def kill_at_random(
        self, process: subprocess.Popen[str], seed: int, pause: float, most: int | None = None
    ) -> dict[str, int]:
        """Kills an actor or a node every now and then until a process ends; counts both.

        Args:
            process: What is at work meanwhile.
            seed: Of what is killed, and when.
            pause: Seconds between two kills, on average.
            most: Kills, at most.
        """
        chance, kills = random.Random(seed), {"actors": 0, "nodes": 0}
        while True:
            try:
                process.wait(chance.uniform(0.2, 1.8) * pause)
                return kills
            except subprocess.TimeoutExpired:
                pass
            if most is not None and sum(kills.values()) >= most:
                continue
            if chance.random() < 0.3:
                self.replace_node(chance)
                kills["nodes"] += 1
            else:
                kills["actors"] += self.kill_actor(chance)

    def start(self, *words: object) -> subprocess.Popen[str]:
        """A command of ours that finds this cluster."""
        path = os.pathsep.join(sys.path)
        return subprocess.Popen(
            [sys.executable, "-m", "keras_int8nmt.cli", *map(str, words)],
            env={**os.environ, "PYTHONPATH": path, "RAY_ADDRESS": self._cluster.address},
            stderr=subprocess.PIPE,
            text=True,
        )
