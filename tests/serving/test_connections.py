"""A server keeps so many connections: those that nobody uses make room, the others stay."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections import OrderedDict
from contextlib import asynccontextmanager, closing
from http.client import HTTPConnection
from unittest.mock import Mock
from urllib.parse import urlsplit

import pytest
from helpers.service import serving

from keras_int8nmt.serving import connections

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Application:
    """Answers whether the connection is one too many, when it is told to."""

    def __init__(self):
        self.going_on = asyncio.Event()
        self.going_on.set()
        self.asked = 0

    async def __call__(self, scope, receive, send):
        self.asked += 1
        await self.going_on.wait()
        body = b"crowded" if connections.CROWDED in scope["state"] else b"welcome"
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def server(most):
    import uvicorn

    application = Application()
    protocol = connections.bounded_protocol(most)
    config = uvicorn.Config(application, port=0, http=protocol, lifespan="off", log_config=None)
    running = uvicorn.Server(config)
    task = asyncio.create_task(running._serve())  # without its handlers of signals
    while not running.started:
        await asyncio.sleep(0.01)
    opened = []

    async def connect():
        port = running.servers[0].sockets[0].getsockname()[1]
        opened.append(await asyncio.open_connection("127.0.0.1", port))
        before = len(opened)
        # Until the server has it.
        while len(running.server_state.connections) < min(before, most):
            await asyncio.sleep(0.01)
        return opened[-1]

    yield application, connect, running.server_state.connections
    application.going_on.set()
    for _, writer in opened:
        writer.close()
    running.should_exit = True
    await task


async def ask(connection):
    reader, writer = connection
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    return await reader.readexactly(7)


async def until(holds):
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come")


@pytest.fixture(params=["httptools", "h11"])
def by_each_parser(request, monkeypatch):
    from uvicorn.protocols.http import auto, h11_impl, httptools_impl

    kinds = {"httptools": httptools_impl.HttpToolsProtocol, "h11": h11_impl.H11Protocol}
    monkeypatch.setattr(auto, "AutoHTTPProtocol", kinds[request.param])


@pytest.mark.usefixtures("by_each_parser")
def test_the_connection_that_was_not_used_for_longest_makes_room(monkeypatch):
    monkeypatch.setattr(connections, "_LEAST_UNUSED", 0.0)

    async def check():
        async with server(3) as (_, connect, kept):
            silent, first, second = [await connect() for _ in range(3)]
            # One that never asks is the first to go; what was used last is the last.
            assert [await ask(first), await ask(second), await ask(first)] == [b"welcome"] * 3
            for gone in (silent, second, first):
                assert await ask(await connect()) == b"welcome"
                assert await gone[0].read() == b""
                await until(lambda: len(kept) == 3)

    asyncio.run(check())


@pytest.mark.usefixtures("by_each_parser")
def test_a_connection_whose_request_is_not_answered_stays(monkeypatch):
    monkeypatch.setattr(connections, "_LEAST_UNUSED", 0.0)

    async def check():
        async with server(2) as (application, connect, kept):
            used = [await connect(), await connect()]
            application.going_on.clear()
            answers = [asyncio.create_task(ask(each)) for each in used]
            await until(lambda: application.asked == 2)
            late = asyncio.create_task(ask(await connect()))
            await until(lambda: application.asked == 3)
            application.going_on.set()
            assert await asyncio.gather(*answers) == [b"welcome"] * 2
            assert await late == b"crowded"
            # As soon as one is unused a new one is welcome, and there is no more of them.
            assert await ask(await connect()) == b"welcome"
            await until(lambda: len(kept) <= 3)

    asyncio.run(check())


def test_a_connection_whose_request_may_be_on_its_way_stays(monkeypatch):
    monkeypatch.setattr(connections, "_LEAST_UNUSED", 3600.0)

    async def check():
        async with server(2) as (_, connect, _):
            used = [await connect(), await connect()]
            assert await ask(await connect()) == b"crowded"
            assert [await ask(each) for each in used] == [b"welcome"] * 2

    asyncio.run(check())


def test_a_connection_whose_request_has_come_and_is_not_read_yet_stays():
    closed = []

    def connection(name, own):
        made = Mock(cycle=None)
        made.transport.get_extra_info.return_value = own
        made.shutdown.side_effect = lambda: closed.append(name)
        return made

    ours, theirs = socket.socketpair()
    other, other_end = socket.socketpair()
    with ours, theirs, other, other_end:
        theirs.send(REQUEST)
        first, second = connection("first", ours), connection("second", other)
        unused = OrderedDict({first: 0.0, second: 1.0})
        # The busy loop of a server comes to new connections before it comes to what has come.
        assert connections._closes_one(unused, 5.0)
        assert closed == ["second"]
        assert unused == {first: 5.0}
        ours.recv(len(REQUEST))
        assert not connections._closes_one(unused, 5.5)
        assert connections._closes_one(unused, 6.5)
        assert closed == ["second", "first"]


def test_there_are_no_more_connections_than_descriptors(monkeypatch):
    limits, told = {"soft": 1024, "hard": 4096}, []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limits["soft"], limits["hard"]))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: told.append(both))
    assert connections._within_descriptors(500) == 500
    assert not told
    assert connections._within_descriptors(2000) == 2000
    assert told == [(2064, 4096)]
    assert connections._within_descriptors(8192) == 4096 - 64
    assert told[1:] == [(4096, 4096)]
    limits["soft"] = resource.RLIM_INFINITY
    assert connections._within_descriptors(8192) == 8192


def test_where_all_connections_are_used_a_request_by_a_new_one_is_refused(folders):
    body = json.dumps({"q": "It rains.", "source": "en", "target": "de"}).encode()
    kind = {"Content-Type": "application/json"}

    def asked(method, path):
        with closing(HTTPConnection(address, timeout=60)) as connection:
            connection.request(method, path, body if method == "POST" else None, kind)
            answer = connection.getresponse()
            return answer.status, json.load(answer), answer.headers

    with serving(str(folders / "int8"), "--threads", "1", "--max-connections", "1") as service:
        address = urlsplit(service.url).netloc
        with closing(HTTPConnection(address, timeout=60)) as first:
            first.putrequest("POST", "/translate")
            for header in (
                *kind.items(),
                ("Content-Length", len(body)),
                ("Expect", "100-continue"),
            ):
                first.putheader(*header)
            first.endheaders()
            # From here on its body is waited for.
            assert first.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            status, answer, told = asked("POST", "/translate")
            assert status == 503
            assert answer == {"error": "The service has as many connections as it may."}
            assert (told["retry-after"], told["connection"]) == ("1", "close")
            # What the service tells of itself it tells always.
            assert asked("GET", "/health")[:2] == (200, {"status": "ok"})
            first.send(body)
            assert first.getresponse().status == 200
