"""What a service is put through: slow, vanishing, oversized, malformed, many, and a kill."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from client import Client, message, one_at_a_time, open_loop
from servers import Server, ours, running

_CONNECTIONS = 1000


def run_faults(
    name: str, folder: Path, requests: Sequence[bytes], rate: float, threads: int
) -> list[dict[str, str]]:
    """Rows of what was done and what was seen.

    Args:
        name: Of the model.
        folder: Of the model.
        requests: Of one sentence each.
        rate: Sentences a second that the service can do.
        threads: Decoder threads.
    """
    rows = []
    with running(ours(name, folder, threads)) as server:
        for fault in (_slow, _vanishing, _oversized, _malformed, _connections):
            what, seen = asyncio.run(fault(server, requests))
            assert asyncio.run(_answers(server, requests)), fault.__name__
            rows.append({"fault": what, "seen": seen})
    with running(ours(name, folder, 1, workers=2)) as server:
        what, seen = asyncio.run(_kill(server, requests, rate / 3))
        rows.append({"fault": what, "seen": seen})
    return rows


async def _answers(server: Server, requests: Sequence[bytes]) -> bool:
    return bool(await one_at_a_time(Client(server.port), requests, 5))


async def _slow(server: Server, requests: Sequence[bytes]) -> tuple[str, str]:
    client = Client(server.port)
    before = await one_at_a_time(client, requests, 100)
    slow = [await client.connect() for _ in range(200)]
    head = message("/translate", b"x" * 1000)[:-1000]
    for exchange in slow:
        exchange.transport.write(head)
    during: list[float] = []
    for _ in range(4):
        for exchange in slow:
            exchange.transport.write(b" ")
        during += await one_at_a_time(client, requests, 25)
    answers = Counter()
    for exchange in slow:
        # They are told that they are too late.
        try:
            status, _ = await asyncio.wait_for(exchange.ask(b""), 60)
            answers[status] += 1
        except (OSError, TimeoutError):
            answers["closed"] += 1
    return (
        "200 clients that send a byte now and then",
        f"others: {1000 * statistics.median(during):.1f} ms, before "
        f"{1000 * statistics.median(before):.1f} ms; the slow ones are answered by {dict(answers)}",
    )


async def _vanishing(server: Server, requests: Sequence[bytes]) -> tuple[str, str]:
    client = Client(server.port)
    body = json.dumps({"q": "It rains today. " * 1000, "source": "en", "target": "de"}).encode()
    refused = 0
    for _ in range(200):
        exchange = await client.connect()
        answer = exchange.ask(message("/translate", body))
        await asyncio.sleep(0.01)
        refused += answer.done()
        exchange.transport.abort()
        answer.exception() if answer.done() else answer.cancel()
    start = time.perf_counter()
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, server.metric, "keras_int8nmt_queue_sentences"):
        await asyncio.sleep(0.01)
    return (
        "200 clients that go away after they sent 1,000 sentences",
        f"{refused} were answered before; {time.perf_counter() - start:.2f} s later no sentence is "
        "left in the queue",
    )


async def _oversized(server: Server, requests: Sequence[bytes]) -> tuple[str, str]:
    before, answers = server.resident_mb(), Counter()
    for _ in range(20):
        exchange = await Client(server.port).connect()
        answer = exchange.ask(message("/translate", b"")[:-2].replace(b"h: 0", b"h: 500000000"))
        exchange.transport.write(b"\r\n" + b" " * (4 << 20))
        try:
            answers[(await answer)[0]] += 1
        except OSError:
            answers["closed"] += 1
        exchange.transport.abort()
    grown = server.resident_mb() - before
    return "20 bodies of 500 MB", f"answered by {dict(answers)}; memory grew by {grown:.0f} MB"


async def _malformed(server: Server, requests: Sequence[bytes]) -> tuple[str, str]:
    rng, answers = random.Random(0), Counter()
    for n in range(1000):
        exchange = await Client(server.port).connect()
        good = bytearray(requests[n % len(requests)])
        for _ in range(rng.randrange(1, 6)):
            good[rng.randrange(len(good))] = rng.randrange(256)
        try:
            answers[(await asyncio.wait_for(exchange.ask(bytes(good)), 0.5))[0]] += 1
        except OSError:
            answers["closed"] += 1
        except TimeoutError:
            answers["waits for more"] += 1
        exchange.transport.abort()
    assert not [status for status in answers if isinstance(status, int) and status >= 500]
    return "1,000 requests with up to 5 wrong bytes anywhere", f"{dict(answers)}"


async def _connections(server: Server, requests: Sequence[bytes]) -> tuple[str, str]:
    client = Client(server.port)
    exchanges = [await client.connect() for _ in range(_CONNECTIONS)]
    start = time.perf_counter()
    found = await asyncio.gather(
        *(each.ask(requests[n % len(requests)]) for n, each in enumerate(exchanges))
    )
    seconds = time.perf_counter() - start
    for each in exchanges:
        each.transport.close()
    statuses = dict(Counter(status for status, _ in found))
    return f"{_CONNECTIONS:,} connections that all ask at once", f"{statuses} in {seconds:.2f} s"


async def _kill(server: Server, requests: Sequence[bytes], rate: float) -> tuple[str, str]:
    async def kill() -> None:
        await asyncio.sleep(3)
        os.kill(server.children()[0], signal.SIGKILL)

    killing = asyncio.create_task(kill())
    # What the worker had is lost; a client that asks again would not see it.
    load = await open_loop(Client(server.port, again=False), requests, 1, rate, 10)
    await killing
    statuses: Any = dict(load.statuses)
    return (
        f"one of two workers killed under {rate:.0f} sentences/s",
        f"{statuses}; 7 s later there are {len(server.children())} workers",
    )
