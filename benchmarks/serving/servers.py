"""Starts what is measured, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Of "base", whose weights are random: every translation has so many tokens.
LENGTHS = {"tiny": 0, "base": 28}
BEAM = 4
_SERVE = """
import json, sys
from keras_int8nmt.serving import ServingSettings, serve
serve([sys.argv[1]], ServingSettings(), port=int(sys.argv[2]), **json.loads(sys.argv[3]))
"""
_TRANSLATE = """
import json, sys
from keras_int8nmt import load_translator
from timing import tell_rate
folder, options = sys.argv[1], json.loads(sys.argv[2])
translator = load_translator(folder, return_scores=False, **options)
tell_rate(lambda sentences: list(translator.translate_iter(sentences)))
"""
_TRANSLATE_BATCH = """
import json, sys
from keras_int8nmt.storage.builtin import FOLDER
from keras_int8nmt.tokenizers.marian import MarianTokenizer
from peer import open_translator, search_of
from timing import tell_rate
folder, (length, threads) = sys.argv[1], json.loads(sys.argv[2])
tokenizer, search = MarianTokenizer(FOLDER), search_of(length)
translator = open_translator(folder, threads)
def translate(sentences):
    sources = [[str(i) for i in tokenizer.encode(text)] for text in sentences]
    for found in translator.translate_batch(sources, **search):
        tokenizer.decode([int(token) for token in found.hypotheses[0]])
tell_rate(translate)
"""


@dataclass
class Server:
    """A running server.

    Attributes:
        port: Of 127.0.0.1.
        process: Its first process.
    """

    port: int
    process: subprocess.Popen[bytes]

    def resident_mb(self) -> float:
        """Memory of the process, without its children."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu_seconds(self) -> float:
        """Of the process so far, all its threads."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        ticks = stat.rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def children(self) -> list[int]:
        place = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in place.read_text(encoding="utf-8").split()]

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def search_of(name: str) -> dict[str, int]:
    length = LENGTHS[name]
    return {"beam_size": BEAM, **({"min_length": length, "max_length": length} if length else {})}


def build(name: str, folder: Path) -> None:
    """Builds a model, unless it is there."""
    if not folder.exists():
        subprocess.run([sys.executable, HERE / "models.py", name, folder], check=True)


@dataclass
class Rate:
    """What something does.

    Attributes:
        sentences: A second.
        cpu_ms: Of a sentence, all threads.
    """

    sentences: float
    cpu_ms: float


def translate_rate(name: str, folder: Path, sentences: list[str], threads: int, s: float) -> Rate:
    """Of `translate` on these sentences again and again, for about so many seconds."""
    options = json.dumps({**search_of(name), "streams": threads})
    return _rate(_TRANSLATE, folder / "int8", options, sentences, s)


def translate_batch_rate(
    name: str, folder: Path, sentences: list[str], threads: int, s: float
) -> Rate:
    """Of CTranslate2's `translate_batch` on the same."""
    options = json.dumps([LENGTHS[name], threads])
    return _rate(_TRANSLATE_BATCH, folder / "ctranslate2", options, sentences, s)


def _rate(script: str, folder: Path, options: str, sentences: list[str], s: float) -> Rate:
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", script, folder, options],
        input=json.dumps([s, sentences]), capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    return Rate(*json.loads(done.stdout.splitlines()[-1]))


def ours(name: str, folder: Path, threads: int, workers: int = 1) -> list[str]:
    options = {**search_of(name), "threads": threads, "workers": workers}
    return [sys.executable, "-c", _SERVE, str(folder / "int8"), "{port}", json.dumps(options)]


def peer(name: str, folder: Path, threads: int) -> list[str]:
    words = [str(folder / "ctranslate2"), "{port}", str(LENGTHS[name]), str(threads)]
    return [sys.executable, str(HERE / "peer.py"), *words]


@contextmanager
def running(command: list[str]) -> Iterator[Server]:
    """A server at a free port, ready to answer; ended by SIGTERM."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [word.replace("{port}", str(port)) for word in command]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if process.poll() is not None:
                raise RuntimeError(f"The server ended with status {process.returncode}.")
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            time.sleep(0.1)
        yield Server(port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
