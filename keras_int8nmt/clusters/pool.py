"""Hands pieces of work to an actor on each node, and hands them out again where one is lost."""

from __future__ import annotations

import contextlib
import heapq
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_int8nmt.clusters.errors import ClusterError
from keras_int8nmt.clusters.session import Node, nodes, on_node
from keras_int8nmt.clusters.worker import Answer, NodeTranslator, Piece
from keras_int8nmt.translation.results import Translation

# Pieces that an actor has: one to finish, and one so that its streams never wait for the next.
_AT_ONCE = 2
# Pieces for each node that are begun before the first of them is waited for: the last ones wait
# for nobody while an earlier one is done again elsewhere.
_AHEAD = 4
# Beyond so many pieces there are no more than the actors need.
_MOST_AHEAD = 256
# A piece that has taken so many actors along is tried alone: it may be the reason.
_SUSPICIOUS = 3
# One that has taken so many is not unlucky.
_MOST_FAILURES = 10
# Seconds that a node rests whose actors die one after the other: twice as long each time.
_FIRST_REST, _LONGEST_REST = 1.0, 60.0
# Seconds: between two looks for nodes, for what is done, and without a node that could work.
_LOOK_EVERY = 1.0
_WAIT = 0.5
_PATIENCE = 300.0
# For a result that is said to be there.
_FETCH = 60.0


@dataclass(order=True)
class _Job:
    """A piece on its way, ordered by its place in the file."""

    first: int
    piece: Piece = field(compare=False)
    answer: Answer | None = field(default=None, compare=False)
    failure: str | None = field(default=None, compare=False)
    failures: int = field(default=0, compare=False)
    cancelled: bool = field(default=False, compare=False)


@dataclass
class _Actor:
    """The actor of a node; `loading` is the reference that says when it can work, until then."""

    node: Node
    handle: Any
    loading: Any
    jobs: dict[Any, _Job] = field(default_factory=dict)


class PieceTranslations:
    """A piece under way, an `AsyncResult`; whoever waits for one keeps all of them going."""

    def __init__(self, pool: NodePool, job: _Job) -> None:
        self._pool, self._job = pool, job

    def results(self, progress: Callable[[int], Any] | None = None) -> list[Translation | str]:
        """Of each text its translation, or why there is none.

        Raises:
            ClusterError: when no node can translate, or none this piece.
        """
        answer = self._pool.wait_for(self._job)
        for each in answer.warnings:
            warnings.warn(each, stacklevel=2)
        outcomes = answer.packed.outcomes()
        if progress is not None:
            progress(len(outcomes))
        return outcomes

    def cancel(self) -> None:
        """Drops it; what an actor is at it ends."""
        self._job.cancelled = True


class NodePool:
    """An actor on each node of a Ray cluster that translates pieces; close it in any case.

    An actor or a node that dies loses the pieces that it had, and they go to others, so that each
    piece is answered once. A node that joins gets an actor, and so does one whose actor died.

    Args:
        ray: Ray, connected.
        model: The folder of the model, by a path that is the same on every node.
        fingerprint: Of that folder.
        options: Of `load_translator`.
    """

    def __init__(self, ray: Any, model: str, fingerprint: str, options: Mapping[str, Any]) -> None:
        self._ray, self._model, self._fingerprint = ray, model, fingerprint
        self._options = dict(options)
        self._waiting: list[_Job] = []
        self._actors: dict[str, _Actor] = {}
        # Of nodes: actors that died since one answered, when the next may be begun, and why a node
        # gets none any more.
        self._deaths: dict[str, int] = {}
        self._resting: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._last_death = ""
        self._looked = self._worked = time.monotonic()
        self._look_for_nodes()

    @property
    def ahead(self) -> int:
        """How many pieces it wants before the first of them is waited for."""
        count = max(1, len(self._actors))
        return max(_AT_ONCE * count, min(_AHEAD * count, _MOST_AHEAD))

    def begin(self, piece: Piece) -> PieceTranslations:
        """Hands a piece over and does not wait for it."""
        job = _Job(piece.first, piece)
        heapq.heappush(self._waiting, job)
        self._hand_out()
        return PieceTranslations(self, job)

    def wait_for(self, job: _Job) -> Answer:
        """Keeps all nodes at work until a piece is answered."""
        while job.answer is None:
            if job.failure is not None:
                raise ClusterError(job.failure)
            self._step()
        return job.answer

    def close(self) -> None:
        """Ends the actors."""
        for actor in self._actors.values():
            self._kill(actor)
        self._actors.clear()

    def _step(self) -> None:
        if time.monotonic() - self._looked >= _LOOK_EVERY:
            self._look_for_nodes()
        self._hand_out()
        of = {ref: actor for actor in self._actors.values() for ref in actor.jobs}
        of |= {a.loading: a for a in self._actors.values() if a.loading is not None}
        self._check_patience()
        if not of:
            time.sleep(_WAIT)
            return
        done, _ = self._ray.wait(list(of), num_returns=1, timeout=_WAIT)
        for ref in done:
            self._finish(of[ref], ref)

    def _finish(self, actor: _Actor, ref: Any) -> None:
        """Takes what is said to be done, or to have failed."""
        exceptions = self._ray.exceptions
        try:
            result = self._ray.get(ref, timeout=_FETCH)
        except exceptions.RayTaskError as error:
            cause = f"{type(error.cause).__name__}: {error.cause}"
            if ref is actor.loading:
                # The same would happen again.
                self._refuse(actor.node, cause)
            self._lose(actor, cause)
        except exceptions.RayError as error:
            self._lose(actor, " ".join(str(error).split("\n", 1)[0].split()))
        else:
            if ref is actor.loading:
                actor.loading = None
            else:
                self._deaths[actor.node.id] = 0
                actor.jobs.pop(ref).answer = result

    def _hand_out(self) -> None:
        """Gives those who have least to do what waits, the first of the file first."""
        while self._waiting:
            job = heapq.heappop(self._waiting)
            if job.cancelled:
                continue
            alone = job.failures >= _SUSPICIOUS
            free = [a for a in self._actors.values() if self._has_room(a, alone)]
            if not free:
                heapq.heappush(self._waiting, job)
                return
            actor = min(free, key=lambda a: len(a.jobs))
            actor.jobs[actor.handle.translate.remote(job.piece)] = job

    def _has_room(self, actor: _Actor, alone: bool) -> bool:
        if actor.loading is not None:
            return False
        with_suspicious = any(job.failures >= _SUSPICIOUS for job in actor.jobs.values())
        return not actor.jobs if alone or with_suspicious else len(actor.jobs) < _AT_ONCE

    def _look_for_nodes(self) -> None:
        """Lets go of actors on nodes that are gone, and begins those that are missing."""
        self._looked = time.monotonic()
        alive = {node.id: node for node in nodes(self._ray)}
        for gone in [actor for id, actor in self._actors.items() if id not in alive]:
            self._lose(gone, "the node is gone")
        for id, node in alive.items():
            rests = self._resting.get(id, 0.0) > self._looked
            if id not in self._actors and id not in self._refused and not rests:
                self._actors[id] = self._actor(node)

    def _actor(self, node: Node) -> _Actor:
        streams = self._options.get("streams", "auto")
        cores = min(node.cores, streams) if isinstance(streams, int) else node.cores
        # All cores of the node are the actor's in Ray's book: nothing else is put beside it.
        kind = self._ray.remote(NodeTranslator).options(
            num_cpus=cores,
            max_concurrency=_AT_ONCE,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=on_node(node),
        )
        handle = kind.remote()
        loading = handle.load.remote(self._model, self._fingerprint, cores, self._options)
        return _Actor(node, handle, loading)

    def _lose(self, actor: _Actor, why: str) -> None:
        """Ends an actor; what it had goes to others."""
        self._actors.pop(actor.node.id, None)
        self._kill(actor)
        deaths = self._deaths[actor.node.id] = self._deaths.get(actor.node.id, 0) + 1
        if deaths > 1:
            rest = min(_LONGEST_REST, _FIRST_REST * 2 ** (deaths - 2))
            self._resting[actor.node.id] = time.monotonic() + rest
        self._last_death = f"{actor.node.address}: {why}"
        for job in actor.jobs.values():
            job.failures += 1
            if job.failures >= _MOST_FAILURES:
                last = job.first + len(job.piece.lines) - 1
                job.failure = (
                    f"{job.piece.name}, lines {job.first} to {last}: {job.failures} actors died "
                    f"while they translated them, the last with: {why}"
                )
            else:
                heapq.heappush(self._waiting, job)

    def _refuse(self, node: Node, why: str) -> None:
        """Notes that a node gets no more actors: what is wrong there stays so."""
        if node.id not in self._refused:
            self._refused[node.id] = f"{node.address}: {why}"
            warnings.warn(f"A node is left out, {self._refused[node.id]}", stacklevel=2)

    def _check_patience(self) -> None:
        """Raises where nobody works and nobody is to be expected."""
        if any(actor.loading is None for actor in self._actors.values()):
            self._worked = time.monotonic()
        elif not self._actors and self._refused:
            raise ClusterError(f"No node can translate: {'; '.join(self._refused.values())}")
        elif time.monotonic() - self._worked > _PATIENCE:
            there = ", ".join(f"{a.node.address} ({a.node.cores})" for a in self._actors.values())
            raise ClusterError(
                f"For {_PATIENCE:.0f} s no node has begun to translate. An actor takes all cores "
                f"of its node; those that were asked: {there or 'none'}. The last actor that died: "
                f"{self._last_death or 'none'}."
            )

    def _kill(self, actor: _Actor) -> None:
        with contextlib.suppress(Exception):  # it may be dead, and so may Ray
            self._ray.kill(actor.handle)
