"""The table of commands: what a command imports, and when; choices are those of the library."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.models import tiny_model

from keras_int8nmt import MarianTokenizer, convert, load_translator, native, save_folder
from keras_int8nmt.autotuning.candidates import KNOWN
from keras_int8nmt.bench.benchmarks import BENCHMARKS
from keras_int8nmt.bench.corpus import options as corpus_options
from keras_int8nmt.bench.corpus.run import PARTS
from keras_int8nmt.cli.command_line import main, make_parser
from keras_int8nmt.cli.commands import COMMANDS, command_file
from keras_int8nmt.conversion.options import ConversionOptions
from keras_int8nmt.evaluation.significance import TESTS
from keras_int8nmt.files.opening import FORMATS
from keras_int8nmt.files.output import ON_ERROR
from keras_int8nmt.quantization import ACTIVATION_SCALES, WEIGHT_RANGE
from keras_int8nmt.runtime.batching import SORTS
from keras_int8nmt.runtime.spec_file import SPEC_FILES
from keras_int8nmt.storage.builtin import FOLDER
from keras_int8nmt.storage.card import own_entries, read_card
from keras_int8nmt.thresholds.modes import MODES

# Runs commands where Keras, TensorFlow and JAX can't be imported.
LIGHT = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "tensorflow", "jax"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
from keras_int8nmt.cli import main

exec(sys.argv[2])
statuses = []
for words in json.loads(sys.argv[1]):
    try:
        statuses.append(main(words))
    except SystemExit as end:
        statuses.append(end.code)
print(json.dumps(statuses))
"""


def run_light(*commands, before=""):
    """Exit statuses and stderr of commands that must need nothing heavy; `before`: a program."""
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, words, before], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def options_of(name):
    """The options of a command by what they fill."""
    parser = argparse.ArgumentParser()
    command_file(name).add_options(parser)
    return {action.dest: action for action in parser._actions}


def test_help_needs_neither_keras_nor_tensorflow():
    statuses, _ = run_light(["--help"], ["--version"], *([name, "--help"] for name in COMMANDS))
    assert statuses == [0] * (2 + len(COMMANDS))


def test_what_is_asked_wrongly_is_told_before_tensorflow_is_imported(tmp_path):
    text, no = tmp_path / "text", tmp_path / "no"
    text.write_text("One.\n")
    pair = ["--src", text, "--ref", text]
    empty = tmp_path / "empty"
    empty.mkdir()
    out = ["-o", tmp_path / "out"]
    cases = [
        (["calibrate", no, "--data", text, *out], "There is no model folder"),
        (["calibrate", empty, "--data", text, *out], "is not a model folder"),
        (["calibrate", no, "--data", no, *out], "No such file"),
        (["calibrate", no, "--data", text, *out, "--beam-size", "2"], "--feed beam alone"),
        (["autotune", no, *pair, *out], "There is no model folder"),
        (["autotune", no, *pair, *out, "--candidate", "x"], "no candidate 'x'"),
        (["convert", no, *out], "There is no model folder"),
        (["convert", no, *out, "--policy", no], "none of int8, paper, float32, and no file"),
        (["convert", no, *out, "--activations", "dynamic", "--bias-correction"], "choose one"),
        (["translate", no, text], "There is no model folder"),
        (["translate", no, text, *out], "There is no model folder"),
        (["translate", no, no], "No such file"),
        (["translate", no, text, "-o", text], "--force replaces it"),
        (["translate", no, text, "--field", "x"], "no fields"),
        (["evaluate", no, *pair], "There is no model folder"),
        (["evaluate", no, "--src", text], "either --src and --ref"),
        (["bench", "gemm", "--full"], "only the benchmark translate has the option --full"),
        (["bench", "translate", "--engine", "x"], "no engine 'x'"),
        (["export", no, *out], "There is no model folder"),
        (["export", text, *out], "There is no model folder"),
        (["export", tmp_path / "no.keras", *out], "no.keras"),
        (["export", empty, "-o", empty], "--force replaces it"),
        (
            ["export", no, *out, "--beam-size", "2", "--num-hypotheses", "3"],
            "more than `beam_size`",
        ),
        (["report", no], "There is no model folder"),
        (["report", no, *pair], "is for the page that -o writes"),
        (["demo", "--json", no / "f"], "There is no folder"),
    ]
    statuses, err = run_light(*(words for words, _ in cases))
    assert statuses == [2] * len(cases)
    lines = err.splitlines()
    for (words, message), line in zip(cases, lines, strict=True):
        assert line.startswith(f"keras-int8nmt {words[0]}: ")
        assert message in line
    assert not (tmp_path / "out").exists()


# A model that says everything in capitals, run by the commands of the run side.
CAPITALS = """
from types import SimpleNamespace
from keras_int8nmt.cli import evaluate, translate
from keras_int8nmt.translation.results import Hypothesis, Translation

class Capitals:
    errors, batch_size, path = (), 2, "fast"
    model = SimpleNamespace(precision="int8")

    def translate(self, texts, progress=None):
        return [Translation([Hypothesis(text.upper(), [2, 1], 0.0)]) for text in texts]

    def begin(self, texts, name=None):
        return SimpleNamespace(results=lambda progress=None: self.translate(texts))

def open_translator(path, search, verbose):
    return Capitals()

translate.open_translator = evaluate.open_translator = open_translator
"""


def test_with_a_translator_of_the_run_side_no_command_of_it_needs_tensorflow(tmp_path):
    model, text, out, figures = (tmp_path / name for name in ("m", "text", "out", "f.json"))
    model.mkdir()
    (model / "config.json").write_text("{}")
    text.write_text("One.\n\nTwo or three.\n")
    capitals = tmp_path / "capitals"
    capitals.write_text("ONE.\n\nTWO OR THREE.\n")
    statuses, err = run_light(
        ["translate", model, text, "-o", out],
        ["translate", model, text, "-o", out, "--resume"],
        ["evaluate", model, "--src", text, "--ref", capitals, "--json", figures],
        before=CAPITALS,
    )
    assert statuses == [0, 0, 0], err
    summary, finished = err.splitlines()
    assert re.fullmatch(r"keras-int8nmt: 3 lines in [\d.]+ s, \d+ tokens/s", summary)
    assert finished == f"{out} is finished: 3 lines."
    assert out.read_text() == capitals.read_text()
    assert json.loads(figures.read_text())["bleu"] == pytest.approx(100.0)


def test_choices_and_defaults_are_those_of_the_library():
    convert, default = options_of("convert"), ConversionOptions()
    assert convert["activations"].choices == ACTIVATION_SCALES
    for name in ("activations", "weights", "softmax", "layer_norm", "bias_correction"):
        assert convert[name].default == getattr(default, name)
    for bits in WEIGHT_RANGE:
        assert convert["weight_bits"].type(str(bits)) == bits
    calibrate = options_of("calibrate")
    assert [calibrate["mode"].type(mode) for mode in MODES] == list(MODES)
    assert all(mode in calibrate["mode"].help for mode in MODES)
    assert all(candidate.name in options_of("autotune")["candidates"].help for candidate in KNOWN)
    translate = options_of("translate")
    assert (translate["input_format"].choices, translate["sort"].choices) == (FORMATS, SORTS)
    assert translate["on_error"].choices == ON_ERROR
    assert options_of("evaluate")["paired"].choices == tuple(TESTS)


def test_each_benchmark_is_there_and_has_the_options_that_its_row_names():
    bench = options_of("bench")
    assert bench["benchmark"].choices == tuple(BENCHMARKS)
    assert tuple(PARTS) == bench["parts"].choices == corpus_options.PARTS
    # --redraw is of all that have --docs.
    known = set(bench) - {"help", "benchmark", "redraw"}
    assert known == {name for row in BENCHMARKS.values() for name in row.options}
    for row in BENCHMARKS.values():
        code = row.load().__code__
        arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        assert set(row.options) <= set(arguments)


def test_options_of_a_command_are_added_once(capsys):
    parser = make_parser()
    for _ in range(2):
        found = parser.parse_args(["demo", "One.", "--json", "f"])
        assert (found.command, found.sentences, found.json) == ("demo", ["One."], "f")
    with pytest.raises(SystemExit):
        parser.parse_args(["demo", "--data", "x"])
    assert "--data" in capsys.readouterr().err


def test_a_folder_with_a_spec_is_translated_and_told_of_without_tensorflow(tmp_path):
    save_folder(
        convert(tiny_model(), activations="dynamic"), tmp_path / "int8", MarianTokenizer(FOLDER)
    )
    text, out = tmp_path / "text", tmp_path / "out"
    text.write_text("One.\n\nTwo or three.\n")
    statuses, err = run_light(
        ["translate", tmp_path / "int8", text, "-o", out, "--verbose"],
        ["evaluate", tmp_path / "int8", "--src", text, "--ref", text],
        ["info", tmp_path / "int8", "--json", tmp_path / "info.json"],
    )
    assert statuses == [0, 0, 0], err
    assert "opened without Keras and TensorFlow" in err
    assert len(out.read_text().splitlines()) == 3
    told = json.loads((tmp_path / "info.json").read_text())
    assert told["opened by"] == ["load_translator", "Keras"]
    assert (told["state"], told["precision"]) == ("converted", "mixed")
    if native.gemm_choice()["measured"]:
        # Each of the folder's shapes has a back end that is taken.
        taken = [each["shape"] for each in told["products"] if each["chosen"]]
        assert len(taken) == len(set(taken))
        assert set(taken) == {each["shape"] for each in told["products"]}


def test_info_without_a_folder_tells_what_runs_here(tmp_path):
    statuses, err = run_light(["info", "--json", tmp_path / "info.json"])
    assert statuses == [0], err
    assert set(json.loads((tmp_path / "info.json").read_text())) == {"native", "products"}


def test_resave_gives_a_folder_of_the_release_before_its_spec(tmp_path):
    archive = Path(__file__).parents[1] / "data" / "release_0_1_0" / "int8.zip"
    with zipfile.ZipFile(archive) as folder:
        folder.extractall(tmp_path / "old")
    old = next(path.parent for path in (tmp_path / "old").rglob("model_card.json"))
    assert main(["resave", str(old), "-o", str(tmp_path / "new"), "--runtime-only"]) == 0
    before, after = read_card(old), read_card(tmp_path / "new")
    assert own_entries(after) == own_entries(before)
    assert set(SPEC_FILES) <= set(after["files"])
    assert "model.keras" not in after["files"]
    load_translator(tmp_path / "new").close()
