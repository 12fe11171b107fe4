"""Open-loop load: requests are sent when their time has come, whether earlier ones are answered."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any


class BrokenConnectionError(ConnectionError):
    """A connection that broke before its answer was whole.

    Attributes:
        why: What the system said.
        unused: Seconds from the answer before to this request; None: it was the first.
        waited: Seconds from the request to the break.
        begun: Whether a byte of the answer had come.
    """

    def __init__(self, why: str, unused: float | None, waited: float, begun: bool) -> None:
        super().__init__(why, unused, waited, begun)
        self.why, self.unused, self.waited, self.begun = why, unused, waited, begun

    def __str__(self) -> str:
        before = "new" if self.unused is None else f"unused for {self.unused:.3f} s"
        part = "with a part of the answer" if self.begun else "before any byte of the answer"
        return f"{before}, broke {1000 * self.waited:.1f} ms after the request, {part}: {self.why}"


class Exchange(asyncio.Protocol):
    """A connection of HTTP/1.1 that asks one thing at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._asked = 0.0
        self._answered: float | None = None
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, message: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Sends a request; gives the status and the body of the answer.

        What it gives fails with BrokenConnectionError if the connection breaks before.
        """
        answer = self._answer = self._loop.create_future()
        self._asked = self._loop.time()
        self.transport.write(message)
        # It may be there already, where the server did not wait for all of the request.
        self.data_received(b"")
        if not answer.done() and self.transport.is_closing():
            self.connection_lost(None)
        return answer

    def data_received(self, data: bytes) -> None:
        self._rest += data
        head, end, body = self._rest.partition(b"\r\n\r\n")
        if not end or self._answer is None:
            return
        lower = head.lower()
        length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0")
        if len(body) >= length:
            self._rest = body[length:]
            answer, self._answer = self._answer, None
            self._answered = self._loop.time()
            if not answer.done():
                answer.set_result((int(head[9:12]), body[:length]))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            why = "closed by the service" if error is None else f"{type(error).__name__}: {error}"
            unused = None if self._answered is None else self._asked - self._answered
            waited = self._loop.time() - self._asked
            broken = BrokenConnectionError(why, unused, waited, bool(self._rest))
            self._answer.set_exception(broken)


def message(path: str, body: bytes, kind: str = "application/json") -> bytes:
    """A POST request."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Load:
    """What became of the requests of a load.

    Attributes:
        rate: Sentences a second that were asked for.
        seconds: From the first request's time to the last answer.
        sentences: That were translated.
        latencies: Seconds from each request's time to its answer.
        statuses: How often each, "lost" for a connection that broke.
        lost: Why those are lost, and how many for each reason.
    """

    rate: float
    seconds: float = 0.0
    sentences: int = 0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[str, Any]:
        cuts = (self.latencies or [0.0])[:1] * 99
        if len(self.latencies) > 1:
            cuts = statistics.quantiles(self.latencies, n=100)
        return {
            "rate": self.rate,
            "throughput": self.sentences / self.seconds if self.seconds else 0.0,
            "p50_ms": 1000 * cuts[49],
            "p95_ms": 1000 * cuts[94],
            "p99_ms": 1000 * cuts[98],
            "statuses": dict(self.statuses),
        }


class Client:
    """Keeps connections that are free for the next request.

    A service closes a connection that nobody uses, and may do so as a request is on its way to it.
    So a request is sent once more, on a new connection, where one that was used before broke before
    any byte of the answer: as HTTP clients do, for translations can be asked for twice (RFC 9110,
    section 9.2.2).

    Args:
        port: Of a service on this machine.
        again: Whether to; False: such a request is lost.

    Attributes:
        asked_again: How the connections broke of requests that were sent once more.
    """

    def __init__(self, port: int, again: bool = True) -> None:
        self._port = port
        self._again = again
        self._free: list[Exchange] = []
        self._all: list[Exchange] = []
        self.asked_again: list[BrokenConnectionError] = []

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises:
            OSError: for a request that is lost.
        """
        while self._free:
            exchange = self._free.pop()
            if not exchange.transport.is_closing():
                break
        else:
            exchange = await self.connect()
        try:
            answer = await exchange.ask(request)
        except BrokenConnectionError as broken:
            if not self._again or broken.unused is None or broken.begun:
                raise
            self.asked_again.append(broken)
            exchange = await self.connect()
            answer = await exchange.ask(request)
        self._free.append(exchange)
        return answer

    async def connect(self) -> Exchange:
        loop = asyncio.get_running_loop()
        _, exchange = await loop.create_connection(Exchange, "127.0.0.1", self._port)
        self._all.append(exchange)
        return exchange

    def close(self) -> None:
        """Closes all connections, those that wait for an answer too."""
        for exchange in self._all:
            exchange.transport.close()
        self._all.clear()
        self._free.clear()


async def open_loop(
    client: Client, requests: Sequence[bytes], each: int, rate: float, seconds: float, seed: int = 0
) -> Load:
    """Sends requests at random times, as many a second as asked, for so many seconds.

    Args:
        client: Sends.
        requests: Sent in turns.
        each: Sentences of each.
        rate: Sentences a second.
        seconds: Of the load.
        seed: Of the times.
    """
    load, rng, loop = Load(rate), random.Random(seed), asyncio.get_running_loop()
    start = loop.time() + 0.1
    last = start

    async def one(when: float, request: bytes) -> None:
        nonlocal last
        try:
            status, _ = await client.ask(request)
        except OSError as error:
            load.statuses["lost"] += 1
            load.lost[f"{type(error).__name__}: {error}"] += 1
            return
        last = loop.time()
        load.statuses[str(status)] += 1
        if status == 200:
            load.latencies.append(last - when)
            load.sentences += each

    tasks: list[asyncio.Task[None]] = []
    when, n = start, 0
    while when < start + seconds:
        if (ahead := when - loop.time()) > 0:
            await asyncio.sleep(ahead)
        tasks.append(asyncio.create_task(one(when, requests[n % len(requests)])))
        n += 1
        when += rng.expovariate(rate / each)
    await asyncio.gather(*tasks)
    load.seconds = last - start
    return load


async def one_at_a_time(client: Client, requests: Sequence[bytes], count: int) -> list[float]:
    """Seconds of requests each of which is sent when the one before is answered."""
    seconds = []
    for n in range(count):
        start = time.perf_counter()
        status, _ = await client.ask(requests[n % len(requests)])
        assert status == 200, status
        seconds.append(time.perf_counter() - start)
    return seconds


async def saturated(
    client: Client, requests: Sequence[bytes], each: int, connections: int, seconds: float
) -> tuple[float, int]:
    """Sentences a second of so many connections that always wait for an answer, and all of them.

    Args:
        client: Sends.
        requests: Sent in turns.
        each: Sentences of each.
        connections: At a time.
        seconds: That count, more where few are answered; before them passes as much time as all
            connections need once.
    """
    loop, turns = asyncio.get_running_loop(), cycle(requests)
    answered, going = 0, True

    async def ask() -> None:
        nonlocal answered
        while going:
            status, _ = await client.ask(next(turns))
            assert status == 200, status
            answered += 1

    asking = [asyncio.create_task(ask()) for _ in range(connections)]
    while answered < connections:
        await asyncio.sleep(0.01)
        for task in asking:
            if task.done():
                task.result()
    start, before = loop.time(), answered
    while loop.time() < start + seconds or answered < before + connections / 2:
        await asyncio.sleep(0.01)
    found = each * (answered - before) / (loop.time() - start)
    going = False
    await asyncio.gather(*asking)
    return found, each * answered
