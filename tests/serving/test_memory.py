"""What a request has made is free when it is answered, and all together have so much at most."""

from __future__ import annotations

import asyncio
import gc
import json
import urllib.parse
from collections import Counter

import pytest

from keras_int8nmt.serving import ServingSettings, create_app

FIELDS = {"source": "en", "target": "de"}
SHORT, LONG = "It rains.", "It rains. " * 400


def as_json(**fields):
    return "application/json", json.dumps({**FIELDS, **fields}).encode()


def as_form(**fields):
    body = urllib.parse.urlencode({**FIELDS, **fields}).encode()
    return "application/x-www-form-urlencoded", body


def as_file(content):
    named = {f'name="{name}"': value for name, value in FIELDS.items()}
    return as_parts(**named, **{'name="file"; filename="a.txt"': content})


def as_parts(**parts):
    lines = [f"--x\r\nContent-Disposition: form-data; {k}\r\n\r\n{v}\r\n" for k, v in parts.items()]
    return "multipart/form-data; boundary=x", ("".join(lines) + "--x--\r\n").encode()


async def ask(app, path, kind, body, goes_after=None, rest=None):
    """The status, 499 for a client that goes after so many seconds.

    Where there is a `rest`, a future, that ends the body when it comes.
    """
    messages = [{"type": "http.request", "body": body, "more_body": rest is not None}]
    statuses = []

    async def receive():
        nonlocal rest
        if messages:
            return messages.pop()
        if rest is not None:
            last, rest = await rest, None
            return {"type": "http.request", "body": last, "more_body": False}
        await asyncio.sleep(60 if goes_after is None else goes_after)
        return {"type": "http.disconnect"}

    async def send(message):
        statuses.append(message.get("status"))

    headers = [(b"content-type", kind.encode()), (b"host", b"x")]
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": path, "headers": headers,
        "raw_path": path.encode(), "query_string": b"", "scheme": "http", "root_path": "",
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 5000), "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return statuses[0]


@pytest.mark.parametrize(
    ("path", "request_", "status"),
    [
        ("/translate", as_json(q=SHORT), 200),
        ("/translate", as_json(q=[SHORT] * 20, source="auto", alternatives=1), 200),
        ("/translate", as_json(q=f"<p>{SHORT}</p>", format="html"), 200),
        ("/translate", as_json(q=SHORT, target="fr"), 200),
        ("/translate", as_form(q=SHORT), 200),
        ("/translate", as_json(q=3), 400),
        ("/translate", as_json(q=LONG * 30), 413),
        ("/translate/stream", as_json(q=SHORT * 3), 200),
        ("/translate_file", as_file(SHORT * 3), 200),
        ("/detect", as_json(q=SHORT), 200),
        ("/none", as_json(), 404),
    ],
    ids=lambda value: str(value)[:40],
)
def test_nothing_of_a_request_waits_for_the_collector(app, path, request_, status):
    async def check():
        async with app.router.lifespan_context(app):
            # The first ones make what stays.
            for _ in range(3):
                assert await ask(app, path, *request_) == status
            return await left_to_the_collector(lambda: ask(app, path, *request_))

    assert asyncio.run(check()) == {}


def test_nothing_of_a_request_whose_client_went_waits_for_the_collector(app):
    request = as_json(q=[LONG] * 4)

    async def goes():
        assert await ask(app, "/translate", *request, goes_after=0.01) == 499
        # Until the decoder has dropped its sentences.
        await ask(app, "/translate", *as_json(q=SHORT))

    async def check():
        async with app.router.lifespan_context(app):
            await goes()
            return await left_to_the_collector(goes)

    assert asyncio.run(check()) == {}


@pytest.mark.parametrize("kind", ["json", "multipart"])
def test_requests_have_so_many_bytes_together_until_they_are_answered(folders, kind):
    def request(size):
        """A body of about so many bytes with a sentence to translate, in two parts."""
        padding = " " * (size - 300)
        if kind == "json":
            head, body = as_json(q=f"{SHORT}{padding}")
        else:
            fields = {**FIELDS, "q": f"{SHORT}{padding}"}
            head, body = as_parts(**{f'name="{name}"': value for name, value in fields.items()})
        return (head, body[:-20]), body[-20:]

    settings = ServingSettings(waiting_bytes=10_000, body_bytes=20_000)
    app = create_app([f"en-de={folders}/int8"], settings, streams=1, max_length=8)

    async def check():
        loop = asyncio.get_running_loop()
        async with app.router.lifespan_context(app):
            begun, ends = [], []
            for size in (5000, 4000):
                first, last = request(size)
                ends.append((loop.create_future(), last))
                begun.append(asyncio.create_task(ask(app, "/translate", *first, rest=ends[-1][0])))
            # Until each waits for its rest.
            await asyncio.sleep(0.01)
            small, large = (request(size) for size in (500, 5000))
            whole = [(head, body + last) for (head, body), last in (small, large)]
            assert await ask(app, "/translate", *whole[0]) == 200
            assert await ask(app, "/translate", *whole[1]) == 429
            for rest, last in ends:
                rest.set_result(last)
            # One that is whole has its share until it is answered.
            await asyncio.sleep(0)
            assert await ask(app, "/translate", *whole[1]) == 429
            assert await asyncio.gather(*begun) == [200, 200]
            assert await ask(app, "/translate", *whole[1]) == 200
            # A request alone may be larger, within its own limit.
            (head, body), last = request(15_000)
            assert await ask(app, "/translate", head, body + last) == 200
            # A client that goes gives back what came of it.
            gone = asyncio.create_task(ask(app, "/translate", *large[0], rest=loop.create_future()))
            await asyncio.sleep(0.01)
            assert await ask(app, "/translate", head, body + last) == 429
            gone.cancel()
            await asyncio.wait([gone])
            assert await ask(app, "/translate", head, body + last) == 200

    asyncio.run(check())


async def left_to_the_collector(work):
    """Kinds of objects, and how many, that five times leave in cycles."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await work()
        # What the loop has still to do.
        await asyncio.sleep(0.05)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(0)
        return dict(Counter(type(each).__qualname__ for each in gc.garbage))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.fixture
def app(folders):
    options = {"beam_size": 2, "max_length": 8, "streams": 1}
    models = [f"en-de={folders}/int8", f"de-fr={folders}/int8"]
    return create_app(models, ServingSettings(pivots=("de",)), **options)
