"""The service on Ray Serve, by the lines of docs/clusters.md as they stand there."""

from __future__ import annotations

import json
import socket
import urllib.request
import warnings
from pathlib import Path

import pytest
from helpers.ray_cluster import LocalCluster
from helpers.service import make_folders

from keras_int8nmt import load_translator, native
from keras_int8nmt.serving import extra
from keras_int8nmt.storage.builtin import read_pairs

serve = pytest.importorskip("ray.serve", exc_type=ImportError)
try:
    extra.require()
except ImportError as missing:
    pytest.skip(str(missing), allow_module_level=True)

pytestmark = [
    pytest.mark.skipif(native.reason() is not None, reason=f"no library: {native.reason()}"),
    # Of Ray Serve's own files, threads and old names.
    pytest.mark.filterwarnings("ignore"),
]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "clusters.md"
FOLDER_THERE = "/models/en-de-int8"
SENTENCES = [source for source, _ in read_pairs()[1][:20]]


def lines_of_the_page() -> str:
    _, _, section = PAGE.read_text("utf-8").partition("## A service on a Ray cluster\n")
    return section.partition("```python\n")[2].partition("```")[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp("models")) / "int8"


@pytest.fixture
def url(model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = lines_of_the_page()
    assert lines.count(FOLDER_THERE) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with LocalCluster(1, cores=1):
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            # As a program of its own: what it defines goes to the replicas by value.
            exec(lines.replace(FOLDER_THERE, str(model)), {"__name__": "__main__"})
            yield f"http://127.0.0.1:{port}"
            serve.shutdown()


def test_the_lines_of_the_page_serve_what_translate_gives(url, model):
    body = json.dumps({"q": SENTENCES, "source": "en", "target": "de"}).encode()
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/translate", body, head)
    with urllib.request.urlopen(request, timeout=120) as answer:
        found = json.load(answer)["translatedText"]
    with load_translator(model, beam_size=4) as translator:
        assert found == translator(SENTENCES)
    with urllib.request.urlopen(f"{url}/languages", timeout=60) as answer:
        assert [language["code"] for language in json.load(answer)] == ["en"]
