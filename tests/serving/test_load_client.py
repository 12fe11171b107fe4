"""The client that loads a service in benchmarks/serving, and the page of its figures."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from pathlib import Path

import pytest
from helpers.service import serving

PLACE = Path(__file__).resolve().parents[2] / "benchmarks" / "serving"


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(PLACE))
    try:
        loaded = {}
        for name in ("client", "servers", "faults", "run"):
            spec = importlib.util.spec_from_file_location(name, PLACE / f"{name}.py")
            sys.modules[name] = loaded[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded[name])
        yield loaded
    finally:
        sys.path.remove(str(PLACE))
        for name in ("client", "servers", "faults", "run"):
            sys.modules.pop(name, None)


def test_open_loop_load_counts_every_request(folders, scripts):
    client = scripts["client"]
    body = json.dumps({"q": ["It rains."] * 4, "source": "en", "target": "de"}).encode()
    good, bad = client.message("/translate", body), client.message("/translate", b"{")

    async def load(port):
        pool = client.Client(port)
        alone = await client.one_at_a_time(pool, [good], 5)
        found = await client.open_loop(pool, [good, good, bad], 4, 400, 1.0)
        pool.close()
        return alone, found

    with serving(str(folders / "int8"), "--beam-size", "1", "--max-length", "8") as service:
        alone, found = asyncio.run(load(int(service.url.rpartition(":")[2])))
    assert len(alone) == 5
    answered, refused = found.statuses["200"], found.statuses["400"]
    assert found.statuses.total() == answered + refused
    assert 0 <= answered - 2 * refused <= 2
    assert found.sentences == 4 * answered == 4 * len(found.latencies)
    figures = found.figures()
    assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
    # As many as the rate asks for, as far as chance allows.
    assert 50 < answered + refused < 160


def test_saturating_load_counts_what_was_answered(folders, scripts):
    client = scripts["client"]
    body = json.dumps({"q": ["It rains."] * 4, "source": "en", "target": "de"}).encode()

    async def load(port):
        pool = client.Client(port)
        found = await client.saturated(pool, [client.message("/translate", body)], 4, 5, 0.5)
        with pytest.raises(AssertionError, match="400"):
            await client.saturated(pool, [client.message("/translate", b"{")], 1, 2, 0.5)
        pool.close()
        return found

    with serving(str(folders / "int8"), "--beam-size", "1", "--max-length", "8") as service:
        port = int(service.url.rpartition(":")[2])
        rate, count = asyncio.run(load(port))
        server = scripts["servers"].Server(port, service.process)
        counted = server.metric("keras_int8nmt_sentences_total")
        assert 0 < server.cpu_seconds() < 600
    assert 0 < 0.5 * rate <= count == counted


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Breaking(asyncio.Protocol):
    """A service whose connections answer once, then send these bytes and close."""

    def __init__(self, answers, last):
        self.answers, self.last = answers, last

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if self.answers:
            self.answers -= 1
            self.transport.write(ANSWER)
        else:
            self.transport.write(self.last)
            self.transport.close()


def asked_twice(scripts, answers, last, **options):
    """What a client gets for two requests of a service that breaks; the client."""

    async def ask():
        loop, made = asyncio.get_running_loop(), iter(answers)
        service = await loop.create_server(lambda: Breaking(next(made), last), "127.0.0.1", 0)
        async with service:
            client = scripts["client"].Client(service.sockets[0].getsockname()[1], **options)
            try:
                return client, [await client.ask(b"x") for _ in range(2)]
            except OSError as error:
                return client, error
            finally:
                client.close()

    return asyncio.run(ask())


def test_a_request_is_sent_again_where_its_connection_was_closed_before(scripts):
    client, found = asked_twice(scripts, [1, 1], b"")
    assert found == [(200, b"{}")] * 2
    (broken,) = client.asked_again
    assert broken.unused >= 0
    assert broken.waited >= 0
    assert "before any byte" in str(broken)


@pytest.mark.parametrize(
    ("answers", "last", "options", "again"),
    [
        ([1], b"HTTP/1.1 200", {}, 0),  # a part of the answer has come
        ([0], b"", {}, 0),  # a new connection
        ([1, 0], b"", {}, 1),  # and one that is new because it is sent again
        ([1], b"", {"again": False}, 0),
    ],
)
def test_a_request_is_lost_where_sending_it_again_is_not_for_sure(
    scripts, answers, last, options, again
):
    client, found = asked_twice(scripts, answers, last, **options)
    assert isinstance(found, scripts["client"].BrokenConnectionError)
    assert found.begun == bool(last)
    assert (found.unused is None) == (answers[-1] == 0)
    assert len(client.asked_again) == again


def test_the_load_tells_why_requests_are_lost(scripts):
    async def load():
        loop = asyncio.get_running_loop()
        service = await loop.create_server(lambda: Breaking(0, b""), "127.0.0.1", 0)
        async with service:
            client = scripts["client"].Client(service.sockets[0].getsockname()[1])
            return await scripts["client"].open_loop(client, [b"x"], 1, 200, 0.2)

    found = asyncio.run(load())
    assert found.statuses.total() == found.statuses["lost"] == found.lost.total() > 0
    assert all(why.startswith("BrokenConnectionError: new, broke ") for why in found.lost)


def test_the_page_is_made_of_the_figures(scripts, tmp_path):
    pytest.importorskip("matplotlib")
    load = {"share": 0.5, "rate": 50, "throughput": 49.6, "p50_ms": 5.24, "p95_ms": 9.0,
            "p99_ms": 12.3, "statuses": {"200": 90, "429": 3}}  # fmt: skip
    served = {"sentences": 90.0, "cpu_ms": 22.0, "client_cpu_ms": 0.25, "share": 0.9,
              "cpu_share": 0.95}  # fmt: skip
    alone = {"alone_ms": 4.1, "alone_p99_ms": 8.2, "loads": [load, load]}
    names = ("keras-int8nmt", "CTranslate2")
    tiny = {
        "rounds": 3,
        "engines": {name: {"sentences": 100.4, "cpu_ms": 20.9} for name in names},
        "servers": {name: {"1": served, "16": served} for name in names},
        "latency": dict.fromkeys(names, alone),
    }
    figures = {
        "cores": 2,
        "seconds": 10,
        "models": {"tiny": tiny},
        "faults": [{"fault": "a kill", "seen": "nothing"}],
        "soak": {
            "rate": 50,
            "statuses": {"200": 9},
            "lost": {},
            "asked_again": ["closed"],
            "memory": [[10, 99.6], [600, 100.4]],
        },
    }
    page = scripts["run"].tables(figures)
    assert "| keras-int8nmt, the engine | | 100 | | 20.90 | |" in page
    assert "| CTranslate2, served | 16 | 90 | 90 % | 22.00 | 95 % |" in page
    row = "| tiny | keras-int8nmt | 50 % | 50 | 5.2 ms | 9.0 ms | 12.3 ms | 3.0 | 3 |"
    assert row in page
    assert "| a kill | nothing |" in page
    assert "600 s at 50 sentences/s, answers {'200': 9}, 1 of them asked for again" in page
    scripts["run"].plot(figures, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000
