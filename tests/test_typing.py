"""The package's types reach its users: mypy on a file of theirs, as installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import keras_int8nmt

PROGRAM = """\
from keras_int8nmt import (
    Int8Dense,
    MarianTokenizer,
    Tokenizer,
    Translator,
    build_transformer,
    calibrate,
    convert,
    evaluate,
    save_folder,
)
from keras_int8nmt.callbacks import CalibrationCallback


class Letters:
    pad_id = 0
    eos_id = 1

    def encode(self, text: str) -> list[int]:
        return [*map(ord, text), 1]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


tokenizer: Tokenizer = Letters()
model = build_transformer(source_vocabulary_size=200)
translator = Translator(model, tokenizer, beam_size=1)
reveal_type(translator(["a"]))
reveal_type(translator.translate(["a"])[0].hypotheses[0].score)
reveal_type(calibrate(model, tokenizer, ["a"]))
reveal_type(evaluate(translator, ["a"], ["b"])[0].bleu)
callback: CalibrationCallback = CalibrationCallback()
Translator(model, MarianTokenizer("folder"), beam_size="four")  # reported: arg-type
Translator(model, tokenizer, beams=4)  # reported: call-arg
save_folder(model, 3)  # reported: arg-type
build_transformer(norm=True)  # reported: arg-type
"""

REVEALED = [
    "list[str]",
    "float",
    "dict[str, tuple[float, float]]",
    "float",
]


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    if find_spec("mypy") is None:
        pytest.skip("mypy is not installed here (it is in the extra dev)")
    place = tmp_path_factory.mktemp("user")
    (place / "program.py").write_text(PROGRAM)
    # As an installed package lies: on the path, outside of the user's folder.
    root = str(Path(keras_int8nmt.__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "program.py"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.stdout


def test_results_have_types(output):
    assert re.findall(r'Revealed type is "(.*)"', output) == REVEALED


def test_misuse_is_reported_and_nothing_else(output):
    lines = enumerate(PROGRAM.splitlines(), 1)
    wrong = [(str(n), x.partition("# reported: ")[2]) for n, x in lines if "# reported: " in x]
    found = re.findall(r"^program\.py:(\d+): error: .*\[(.*)\]$", output, re.MULTILINE)
    assert found == wrong, output
