"""The start of a translation without Keras: what it imports, and what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from helpers.models import make_transformer

from keras_int8nmt import MarianTokenizer, convert, native, save_folder
from keras_int8nmt.bench.startup.loads import slope_kb
from keras_int8nmt.storage.builtin import FOLDER

pytestmark = pytest.mark.skipif(
    native.reason() is not None, reason=f"no native library: {native.reason()}"
)

TRANSLATE = """
import sys
from keras_int8nmt import load_translator
print(load_translator(sys.argv[1], max_length=8)(["Where is it?"]))
"""
COMMAND = """
import sys
from keras_int8nmt.cli import main
assert main(["translate", sys.argv[1], "--max-length", "8"]) == 0
"""
LOADS = """
import json, os, sys
from keras_int8nmt import load_translator
resident = []
for _ in range(100):
    with load_translator(sys.argv[1], max_length=8) as translator:
        translator(["Where is it?"])
    with open("/proc/self/statm", encoding="ascii") as file:
        resident.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
print(json.dumps(resident))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    settings = {"source_vocabulary_size": 6001, "target_vocabulary_size": 6001}
    model = make_transformer(None, pad_id=6000, eos_id=0, start_id=6000, **settings)
    int8 = convert(model, activations="dynamic")
    place = tmp_path_factory.mktemp("runtime") / "model"
    save_folder(int8, place, MarianTokenizer(FOLDER), keras=False)
    return place


def run(program, folder, *flags):
    done = subprocess.run(
        [sys.executable, *flags, "-c", program, str(folder)],
        input="Where is it?\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("program", [TRANSLATE, COMMAND], ids=["load_translator", "command"])
def test_a_first_translation_imports_the_standard_library_and_the_tokenizer_alone(folder, program):
    names = imported(program, folder) - imported("pass", folder)
    packages = {name.partition(".")[0] for name in names}
    # The standard library's copy asks for Jython's "org" in vain.
    packages -= {*sys.stdlib_module_names, "org"}
    assert packages == {"keras_int8nmt", "sentencepiece"}


def imported(program, folder):
    """The modules that a program imports, by name."""
    lines = run(program, folder, "-X", "importtime").stderr.splitlines()[1:]
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_loading_and_freeing_leaves_nothing_behind(folder):
    resident = json.loads(run(LOADS, folder).stdout)
    # A model that stayed would be 4,000 KB a load.
    assert abs(slope_kb(resident)) < 40
