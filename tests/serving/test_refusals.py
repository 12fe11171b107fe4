"""What is refused, and that every refusal is JSON with a reason."""

from __future__ import annotations

import json
import random
import string
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from helpers.tokenizers import ODD_TEXTS

GOOD = {"q": "It rains.", "source": "en", "target": "de"}
NONE = object()


def refused(response, status):
    assert response.status_code == status, response.text
    reason = response.json()["error"]
    assert response.json().keys() == {"error"}
    assert reason.endswith(".")
    return reason


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"q": NONE}, 400, "`q` is missing"),
        ({"q": 3}, 400, "`q` must be a text"),
        ({"q": ["a", None]}, 400, "`q` must be a text"),
        ({"q": "\ud83d"}, 400, "surrogate"),
        ({"q": "a" * 2001}, 413, "2001 characters; at most 2000"),
        ({"q": ["a"] * 21}, 413, "21 texts; at most 20"),
        ({"q": "No. " * 101}, 413, "101 sentences were sent; at most 100"),
        ({"q": "the " * 60}, 413, "Sentence 1 has 61 tokens; the model takes 40"),
        ({"source": NONE}, 400, "`source` is missing"),
        ({"target": ""}, 400, "`target` is missing"),
        ({"target": "xx"}, 400, "'xx' is no language of this service"),
        ({"target": "\ud83d"}, 400, "is no language of this service"),
        ({"target": ["de"]}, 400, "`target` must be a word"),
        ({"source": "de", "target": "en"}, 400, "No model goes from de to en"),
        ({"format": "pdf"}, 400, "`format` must be one of text, html; it is 'pdf'"),
        ({"alternatives": 99}, 400, "from 0 to 3"),
        ({"alternatives": True}, 400, "from 0 to 3"),
        ({"precision": "int4"}, 400, "`precision` must be one of int8, float32, mixed"),
        ({"precision": "int8"}, 400, "No model of precision int8 goes from en to de"),
        ({"q": "<b>" * 3001, "format": "html"}, 413, "characters"),
    ],
)
def test_what_is_wrong_with_a_request_is_told(limited, changes, status, words):
    fields = {name: value for name, value in {**GOOD, **changes}.items() if value is not NONE}
    assert words in refused(limited.post("/translate", content=json.dumps(fields)), status)


@pytest.fixture(scope="module")
def limited(make_client):
    return make_client(
        characters=2000, texts=20, sentences=100, body_bytes=20_000, file_bytes=5_000
    )


@pytest.mark.parametrize(
    ("kind", "body", "status", "words"),
    [
        ("application/json", b"{", 400, "no JSON"),
        ("application/json", b'{"q": NaN}', 400, "no JSON"),
        ("application/json", b"\xff\xfe", 400, "no JSON"),
        ("application/json", b"[" * 9000, 400, "no JSON"),
        ("application/json", b"[]", 400, "must be a JSON object"),
        ("application/json", b'{"q":' + b"9" * 5000 + b"}", 400, "no JSON"),
        ("application/json", b" " * 20_001, 413, "more than 20000 bytes"),
        ("application/x-www-form-urlencoded", "q=ä".encode(), 400, "no form"),
        ("application/x-www-form-urlencoded", b"q=%ff", 400, "no form"),
        ("application/x-www-form-urlencoded", b"&".join([b"q=a"] * 2000), 400, "no form"),
        ("multipart/form-data", b"--x", 400, "no multipart/form-data"),
        ("multipart/form-data; boundary=x", b"q=1", 400, "no multipart/form-data"),
        ("text/plain", b"It rains.", 415, "must be JSON or a form"),
        ("", b"It rains.", 415, "must be JSON or a form"),
    ],
)
def test_bodies_that_are_none_are_told(limited, kind, body, status, words):
    response = limited.post("/translate", content=body, headers={"Content-Type": kind})
    assert words in refused(response, status)


def test_a_body_of_unknown_length_is_refused_where_it_is_too_long(limited):
    sent = []

    def parts():
        for _ in range(100):
            sent.append(1)
            yield b" " * 1000

    headers = {"Content-Type": "application/json"}
    refused(limited.post("/translate", content=parts(), headers=headers), 413)


def test_files_that_are_none_are_told(limited):
    fields = {"source": "en", "target": "de"}

    def send(name, content):
        return limited.post("/translate_file", data=fields, files={"file": (name, content)})

    assert "must end with one of .txt, .html, .htm" in refused(send("a.pdf", b""), 400)
    assert "not UTF-8" in refused(send("a.txt", b"\xff"), 400)
    assert "more than" in refused(send("a.txt", b"a" * 100_000), 413)
    assert "more than 5000 bytes" in refused(send("a.txt", b"a" * 5_001), 413)
    assert "must be a file" in refused(
        limited.post("/translate_file", files={"file": (None, "a")}), 400
    )
    assert "multipart" in refused(limited.post("/translate_file", json=fields), 415)
    refused(limited.get("/download_file/x/../../etc/passwd"), 404)
    refused(limited.get(f"/download_file/{'a' * 32}/translation.txt"), 404)


def test_addresses_that_are_none_are_told(client):
    assert "nothing at this address" in refused(client.get("/secret text"), 404)
    assert "does not take this method" in refused(client.get("/translate"), 405)
    refused(client.get("/page/../app.py"), 404)
    refused(client.get("/page/app.py"), 404)


def test_keys_are_asked_for_and_count_their_requests(make_client):
    first, second = "k" * 16, "l" * 16
    client = make_client(keys={first: 0, second: 2})
    assert "API key" in refused(client.post("/translate", json=GOOD), 403)
    refused(client.post("/translate", json={**GOOD, "api_key": "m" * 16}), 403)
    refused(client.post("/detect", json={"q": "a", "api_key": 3}), 403)
    for _ in range(4):
        assert client.post("/translate", json={**GOOD, "api_key": first}).status_code == 200
    bearer = {"Authorization": f"Bearer {second}"}
    for _ in range(2):
        assert client.post("/translate", json=GOOD, headers=bearer).status_code == 200
    response = client.post("/translate", json=GOOD, headers=bearer)
    refused(response, 429)
    assert int(response.headers["retry-after"]) >= 1
    assert client.get("/frontend/settings").json()["keyRequired"] is True


def test_a_full_queue_says_when_to_come_again(make_client):
    """A request alone is taken, however long; the next one finds no room until it is finished."""
    from keras_int8nmt.serving.access import Gate
    from keras_int8nmt.serving.errors import RefusalError

    clock = [0.0]
    gate = Gate(10, lambda: clock[0])
    gate.enter(50)
    with pytest.raises(RefusalError, match="50 sentences are waiting, 10 may") as caught:
        gate.enter(1)
    assert caught.value.status == 429
    assert caught.value.headers == {"Retry-After": "1"}
    clock[0] = 10.0
    gate.leave(40)  # 4 sentences a second
    assert not gate.has_room(1)
    gate.leave(2)
    gate.enter(2)
    gate.inside = 100
    assert gate.wait() == 13


def test_what_takes_too_long_is_dropped(make_client, monkeypatch):
    client = make_client(seconds=1)
    from keras_int8nmt.serving.scheduler import Scheduler

    monkeypatch.setattr(Scheduler, "_begin", lambda self, piece: self._drop(piece))
    response = client.post("/translate", json=GOOD)
    assert "more than 1 seconds" in refused(response, 503)
    assert "keras_int8nmt_queue_sentences 0.0" in client.get("/metrics").text


def test_no_more_files_are_translated_at_a_time_than_may_be(make_client, monkeypatch):
    from keras_int8nmt.serving.scheduler import Scheduler

    client = make_client(files=1, seconds=2)

    def send():
        fields = {"source": "en", "target": "de"}
        return client.post("/translate_file", data=fields, files={"file": ("a.txt", b"It rains.")})

    with monkeypatch.context() as stuck, ThreadPoolExecutor(1) as pool:
        stuck.setattr(Scheduler, "_begin", lambda self, piece: self._drop(piece))
        first = pool.submit(send)
        while "keras_int8nmt_queue_sentences 1.0" not in client.get("/metrics").text:
            assert not first.done()
        second = send()
        assert not first.done()
        assert "1 files are being translated" in refused(second, 429)
        assert int(second.headers["retry-after"]) >= 1
        refused(first.result(), 503)
    assert send().status_code == 200


def mutated(rng):
    """A request that is near to a good one, or none."""
    words = [*ODD_TEXTS, "It rains.", "<b>It</b> &amp;", ">>xx<< It rains.", "a" * 300]
    odd = [
        None,
        True,
        -1,
        1.5,
        10**30,
        [],
        {},
        [[]],
        "",
        "auto",
        "en",
        "de",
        "fr",
        "html",
        "\ud800",
    ]
    fields = dict(GOOD)
    for name in ("q", "source", "target", "format", "alternatives", "precision", "api_key", "x"):
        if rng.random() < 0.3:
            fields[name] = rng.choice(words) if rng.random() < 0.5 else rng.choice(odd)
        if rng.random() < 0.05:
            fields.pop(name, None)
    if rng.random() < 0.3:
        fields["q"] = [rng.choice(words) for _ in range(rng.randrange(4))]
    kind = "application/json"
    body = json.dumps(fields, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        body = bytearray(body)
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        body = bytes(body)
    if rng.random() < 0.3:
        kind = rng.choice(
            ["", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "a/b",
             "application/json; charset=utf-16", "multipart/form-data; boundary=" + "x" * 300]
        )  # fmt: skip
    if kind.endswith("boundary=x") and rng.random() < 0.7:
        body = b"".join(
            b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
            % (
                name.encode("ascii", "replace"),
                rng.choice([b"", b'; filename="a.txt"', b"; filename=\xff"]),
                str(value).encode("utf-8", "replace"),
            )
            for name, value in fields.items()
        ) + rng.choice([b"--x--\r\n", b"--x", b""])
    path = rng.choice(["/translate"] * 6 + ["/translate/stream", "/detect", "/translate_file"])
    if rng.random() < 0.03:
        path = "/" + quote("".join(rng.choices(string.printable.strip(), k=8)), safe="")
    return path, kind, body


# KERAS_INT8NMT_FUZZ names another number of requests.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
# Of a form that breaks off, Starlette leaves the file to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored.*:pytest.PytestUnraisableExceptionWarning")
def test_no_request_is_answered_by_500(make_client):
    import os

    rng, client = random.Random(16), make_client(beam_size=1)
    statuses = set()
    for _ in range(int(os.environ.get("KERAS_INT8NMT_FUZZ", "300"))):
        path, kind, body = mutated(rng)
        response = client.post(path, content=body, headers={"Content-Type": kind})
        statuses.add(response.status_code)
        assert response.status_code < 500, (path, kind, body, response.text)
        if response.status_code != 200:
            assert response.json()["error"].endswith("."), (path, kind, body)
        elif path == "/translate":
            assert "translatedText" in response.json()
    assert {200, 400} <= statuses
