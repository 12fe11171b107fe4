"""`keras-int8nmt serve` as a process: no Keras, its logs, its signals, its workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from helpers.service import serving

from keras_int8nmt.cli import main
from keras_int8nmt.serving import ServingSettings

TEXT = "It rains. " * 8
SEARCH = ("--beam-size", "1", "--max-length", "8")


def post(url, **fields):
    data = json.dumps({"source": "en", "target": "de", **fields}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/translate", data, headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["translatedText"]


@pytest.fixture(scope="module")
def running(folders):
    with serving(str(folders / "int8"), *SEARCH) as service:
        yield service


def test_a_client_of_libretranslate_works_unchanged(running):
    client = pytest.importorskip("libretranslatepy").LibreTranslateAPI(running.url)
    assert client.translate("It rains.", "en", "de") == post(running.url, q="It rains.")
    assert client.detect("Guten Morgen, wie geht es dir?")[0]["language"] == "de"
    assert [language["code"] for language in client.languages()] == ["en"]


def test_a_client_that_goes_away_is_no_longer_worked_for(running):
    address = urlsplit(running.url)
    fields = {"q": ["It rains. " * 900] * 2, "source": "en", "target": "de"}
    body = json.dumps(fields).encode()
    head = f"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        # Until its sentences wait.
        _until(lambda: _metric(running.url, "keras_int8nmt_queue_sentences") > 0)
    _until(lambda: _metric(running.url, "keras_int8nmt_dropped_requests_total") == 1)
    assert _metric(running.url, "keras_int8nmt_queue_sentences") == 0
    # What was handed to the decoder is dropped after its step.
    _until(lambda: _metric(running.url, "keras_int8nmt_decoder_sentences") == 0)
    assert post(running.url, q="It rains.")


def test_a_connection_that_nobody_uses_is_kept_as_long_as_is_told(folders):
    with serving(str(folders / "int8"), *SEARCH, "--max-idle-seconds", "1") as service:
        # It waits less than the default for the connection's end.
        connection = HTTPConnection(urlsplit(service.url).netloc, timeout=60)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.getheader("connection")) == (200, None)
        assert connection.sock.recv(1) == b""
        connection.close()
    assert ServingSettings().idle_seconds > 60


def test_logs_have_no_texts(running):
    post(running.url, q="A secret.", api_key="another secret")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{running.url}/secret?secret")
    _until(lambda: running.events("request")[-1]["path"] == "other")
    told = running.events("request")
    assert told[-2].keys() == {
        "time", "level", "process", "event", "path", "status", "ms", "sentences", "tokens"
    }  # fmt: skip
    assert (told[-2]["path"], told[-2]["status"], told[-2]["sentences"]) == ("/translate", 200, 1)
    assert "secret" not in json.dumps(running.lines)


def test_what_was_accepted_is_finished_when_it_is_told_to_stop(folders):
    with serving(str(folders / "int8"), "--threads", "1") as service, ThreadPoolExecutor() as pool:
        expected = post(service.url, q=TEXT)
        answer = pool.submit(post, service.url, q=[TEXT] * 200)
        _until(lambda: answer.done() or _metric(service.url, "keras_int8nmt_queue_sentences") > 0)
        assert service.stop() == 0
        assert answer.result() == [expected] * 200
    assert service.events("stopped")


def test_a_signal_that_comes_before_the_server_looks_at_them_stops_it(monkeypatch):
    import uvicorn
    from starlette.applications import Starlette

    from keras_int8nmt.serving import ServingSettings, server

    loop_factory = uvicorn.Config.get_loop_factory

    def told_to_stop(config):
        os.kill(os.getpid(), signal.SIGTERM)
        return loop_factory(config)

    monkeypatch.setattr(uvicorn.Config, "get_loop_factory", told_to_stop)
    before = signal.getsignal(signal.SIGTERM)
    reading, writing = os.pipe()
    # Where it does not stop, it is stopped as by the end of a parent.
    late = threading.Timer(20, os.close, [writing])
    late.start()
    with server._listen("127.0.0.1", 0) as listening:
        server._run(Starlette(), listening, ServingSettings(), reading)
    late.cancel()
    os.close(reading)
    os.close(writing)  # an OSError where it was too late
    assert signal.getsignal(signal.SIGTERM) is before


def test_workers_that_are_told_to_stop_as_they_begin_stop(folders):
    with serving(str(folders / "int8"), *SEARCH, "--workers", "8") as service:
        _until(lambda: service.events("worker"))
        assert service.stop() == 0


def test_a_worker_that_is_killed_is_begun_anew_and_the_others_go_on(folders):
    with serving(str(folders / "int8"), *SEARCH, "--workers", "2") as service:
        expected = post(service.url, q=TEXT)
        _until(lambda: len(service.events("started")) == 2)
        time.sleep(1.1)  # A worker that dies sooner is begun a second later.
        victim = service.events("worker")[0]["pid"]
        os.kill(victim, signal.SIGKILL)
        answers, lost = [], 0
        while len(service.events("started")) < 3:
            try:
                answers.append(post(service.url, q=TEXT))
            except (OSError, urllib.error.URLError):
                lost += 1
        assert set(answers) <= {expected}
        # Only what the worker had accepted is lost.
        assert lost <= 1
        died = service.events("worker died")
        assert [(each["pid"], each["status"]) for each in died] == [(victim, -9)]
        # All workers' counts are added up, those of the dead one too.
        for _ in range(8):
            post(service.url, q=TEXT)
        count = _metric(service.url, "keras_int8nmt_sentences_total")
        assert count >= 8 * (len(answers) + 8)
        assert service.stop() == 0
    assert len(service.events("stopped")) == 2


def test_what_can_not_be_served_is_told_in_a_line(folders, tmp_path, capsys):
    model = str(folders / "int8")
    keys = tmp_path / "keys"
    keys.write_text("short\n")
    for arguments, words in (
        ([str(tmp_path)], "model_card.json"),
        ([f"en-de={tmp_path / 'none'}"], "There is no model folder"),
        ([f"english={model}"], "'english' of"),
        ([model, f"en-de={model}"], "Two models of precision"),
        ([model, "--pivot", "fr"], "No model has the language 'fr'"),
        ([model, "--api-keys", str(keys)], "the key has 5 characters"),
        ([model, "--host", "192.0.2.1"], "192.0.2.1:0 can't be listened at"),
    ):
        assert main(["serve", "--port", "0", *arguments]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("keras-int8nmt serve: ")
        assert words in error


def _metric(url, name):
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def _until(holds):
    """Waits for what is bound to come."""
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come")
