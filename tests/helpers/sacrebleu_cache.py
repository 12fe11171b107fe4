"""A cache folder of sacreBLEU as the tests need it, and a process that finds no network."""

from __future__ import annotations

import os
import sys

FIELDS = {
    "src": ["One .", "Two\u2028three .", ""],
    "ref": ["Eins .", "Zwei\u2028drei .", ""],
    "docid": ["a"] * 3,
    "genre": ["news"] * 3,
    "origlang": ["en"] * 3,
}
# No server listens there, so that nothing is downloaded wherever the tests run.
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")


def prepare(cache, name="wmt14/full", pair="en-de", **fields):
    """The files of a set as sacreBLEU keeps them."""
    folder = cache / name
    folder.mkdir(parents=True)
    for field, lines in {**FIELDS, **fields}.items():
        path = folder / f"{name.replace('/', '_')}.{pair}.{field}"
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def environment(cache):
    """This environment with another cache folder; sacreBLEU reads its name once a process."""
    changed = {**NO_NETWORK, "PYTHONPATH": os.pathsep.join(sys.path), "SACREBLEU": str(cache)}
    # What a developer may have set would let TensorFlow log.
    return {**{k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}, **changed}
