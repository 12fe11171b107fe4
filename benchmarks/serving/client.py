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


class Exchange(asyncio.Protocol):
    """A connection of HTTP/1.1 that asks one thing at a time."""

    def __init__(self) -> None:
        self._rest = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, message: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Sends a request; gives the status and the body of the answer."""
        answer = self._answer = asyncio.get_running_loop().create_future()
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
            if not answer.done():
                answer.set_result((int(head[9:12]), body[:length]))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the connection was closed"))


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
    """

    rate: float
    seconds: float = 0.0
    sentences: int = 0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

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

    Args:
        port: Of a service on this machine.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Exchange] = []
        self._all: list[Exchange] = []

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        while self._free:
            exchange = self._free.pop()
            if not exchange.transport.is_closing():
                break
        else:
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
        except OSError:
            load.statuses["lost"] += 1
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
