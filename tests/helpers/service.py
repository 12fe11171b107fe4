"""Model folders for a service, and a running one."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def make_folders(place: Path) -> Path:
    """Folders `int8` and `float` of a tiny model, whose cards say that it is of en and de."""
    from helpers.models import tiny_model

    from keras_int8nmt import MarianTokenizer, convert, save_folder
    from keras_int8nmt.storage.builtin import FOLDER

    model, tokenizer = tiny_model(max_length=40), MarianTokenizer(FOLDER)
    for name, policy in (("int8", "int8"), ("float", "float32")):
        converted = convert(model, activations="dynamic", policy=policy)
        card = {"languages": ["en", "de"]}
        save_folder(converted, place / name, tokenizer, keras=False, card=card)
    return place


# What a process says that can't import what the run side does without.
WITHOUT_KERAS = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "tensorflow", "jax"):
            raise ImportError(f"the service imported {name}")

sys.meta_path.insert(0, Refuse())
from keras_int8nmt.cli import main
sys.exit(main(["serve", *sys.argv[1:]]))
"""


def free_port() -> int:
    """Of 127.0.0.1, for a server that can't be told to take any."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


class Running:
    """A service in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], lines: list[dict[str, Any]]) -> None:
        self.process, self.lines = process, lines
        self.url = ""

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def serving(*arguments: str) -> Iterator[Running]:
    """`keras-int8nmt serve` at a free port, without Keras; every line of its logs is JSON."""
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_KERAS, "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    running, started, wrong = Running(process, []), threading.Event(), []

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            if not re.match(r"\{", line):
                wrong.append(line)
                continue
            running.lines.append(json.loads(line))
            if running.lines[-1]["event"] == "listening":
                running.url = f"http://127.0.0.1:{running.lines[-1]['port']}"
                started.set()
        started.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert started.wait(120)
        assert running.url, wrong
        yield running
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()
    assert not wrong, wrong
