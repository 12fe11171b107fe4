"""The command `evaluate`: where sentences come from, and several models side by side."""

from __future__ import annotations

import gc
import importlib.util
import json
import subprocess
import sys
import weakref
from types import SimpleNamespace

import keras
import pytest
from helpers.models import tiny_model
from helpers.sacrebleu_cache import environment, prepare

from keras_int8nmt import MarianTokenizer, save_folder
from keras_int8nmt.cli import main
from keras_int8nmt.cli.evaluate import (
    EvaluationData,
    EvaluationRequestError,
    check_test,
    evaluate_models,
    listed_models,
    read_data,
)
from keras_int8nmt.evaluation.test_sets import NamedSet
from keras_int8nmt.storage.builtin import FOLDER
from keras_int8nmt.translation.translator import Hypothesis, Translation

SOURCES = ["one two three four", "five six seven", "eight nine ten eleven"]
REFERENCES = ["eins zwei drei vier", "fünf sechs sieben", "acht neun zehn elf"]
DATA = EvaluationData(SOURCES, [REFERENCES], "numbers.en", {})


class Fixed:
    """A translator that says the same whatever it is asked."""

    batch_size = 2
    path = "layers"

    def __init__(self, lines):
        self.model = SimpleNamespace()
        self.lines = dict(zip(SOURCES, lines, strict=True))

    def translate(self, texts, progress=None):
        return [Translation([Hypothesis(self.lines[t], [2, 1], 0.0)]) for t in texts]


def test_one_model_is_compared_with_nothing():
    figures, comparison = evaluate_models(["m"], DATA, lambda _: Fixed(REFERENCES))
    assert figures["m"].bleu == pytest.approx(100)
    assert comparison is None


def test_models_are_compared_with_the_first_and_one_is_kept_at_a_time():
    outputs = {
        "a": REFERENCES,
        "b": [REFERENCES[0], "etwas", REFERENCES[2]],
        "c": list(REFERENCES),
    }
    alive = weakref.WeakSet()

    def make(name):
        gc.collect()
        assert not alive
        translator = Fixed(outputs[name])
        alive.add(translator)
        return translator

    figures, found = evaluate_models(list(outputs), DATA, make, paired="ar", samples=40)
    assert list(figures) == ["a", "b", "c"]
    assert (found.test, found.samples) == ("ar", 40)
    assert [s.different_outputs for s in found.systems] == [None, 1, 0]
    for system in found.systems:
        assert system.metrics["BLEU"].score == figures[system.name].bleu
        assert system.metrics["TER"].score == figures[system.name].ter


def test_the_baseline_comes_first_and_no_model_twice():
    assert listed_models(["a", "b"], None) == ["a", "b"]
    assert listed_models(["a", "b"], "b") == ["b", "a"]
    assert listed_models(["a"], "float") == ["float", "a"]
    with pytest.raises(EvaluationRequestError, match="a is named twice"):
        listed_models(["a", "b", "a"], None)


def test_a_test_needs_two_models():
    check_test(["a", "b"], "bs", 10)
    check_test(["a"], None, None)
    with pytest.raises(EvaluationRequestError, match="--paired compares two models or more"):
        check_test(["a"], "bs", None)
    with pytest.raises(EvaluationRequestError, match="--samples compares two models or more"):
        check_test(["a"], None, 10)


def test_a_seed_that_is_none_is_refused_before_anything_is_translated(monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "seven")
    check_test(["a"], None, None)
    with pytest.raises(EvaluationRequestError, match="SACREBLEU_SEED"):
        check_test(["a", "b"], None, None)


def test_a_tokenizer_that_is_not_installed_is_named_before_anything_is_translated(monkeypatch):
    # sacreBLEU's own extra; with it there is nothing to refuse.
    if importlib.util.find_spec("MeCab") is not None:
        pytest.skip("sacrebleu[ja] is installed")
    named = NamedSet("wmt20", "en-ja", SOURCES, [REFERENCES])
    monkeypatch.setattr("keras_int8nmt.cli.evaluate.load_named_set", lambda *_: named)
    with pytest.raises(EvaluationRequestError, match=r"sacrebleu\[ja\]"):
        read_data(None, None, "wmt20", "en-ja")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((None, None, None, None), "either --src and --ref, or a test set"),
        (("s", None, None, None), "either --src and --ref, or a test set"),
        (("s", "r", "wmt14", "en-de"), "either --src and --ref, or a test set"),
        ((None, None, "wmt14", None), "needs a language pair, such as -l en-de"),
        ((None, None, None, "en-de"), "needs a test set, such as -t wmt14"),
    ],
)
def test_half_a_request_is_refused(given, message):
    with pytest.raises(EvaluationRequestError, match=message):
        read_data(*given)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    tiny = tiny_model(max_length=12)
    place = tmp_path_factory.mktemp("models")
    for name in ("one", "two"):
        for weight in tiny.trainable_weights:
            weight.assign(weight + 0.1 * keras.random.normal(weight.shape, seed=len(name)))
        save_folder(tiny, place / name, MarianTokenizer(FOLDER))
    return place / "one"


SHORT = ["--max-length", "8", "--streams", "1", "--beam-size", "1"]


def test_the_command_compares_models_and_records_each(model, tmp_path, capfd):
    files = []
    for name, lines in (("in.en", SOURCES), ("ref.de", REFERENCES)):
        path = tmp_path / name
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        files.append(str(path))
    two = model.with_name("two")
    words = ["evaluate", str(model), "--baseline", str(two), "--src", files[0], "--ref", files[1]]
    words += ["--samples", "50", "--record", "--json", str(tmp_path / "f.json"), *SHORT]
    assert main(words) == 0
    content = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert list(content["systems"]) == [str(two), str(model)]
    assert content["comparison"]["baseline"] == str(two)
    assert content["comparison"]["samples"] == 50
    for folder in (model, two):
        card = json.loads((folder / "model_card.json").read_text(encoding="utf-8"))
        assert card["bleu"]["ter"] == content["systems"][str(folder)]["ter"]
        assert card["bleu"]["source"] == "in.en"
    out = capfd.readouterr().out
    assert f"{model} against {two}: BLEU" in out
    assert "of 3 outputs differ" in out


def test_unknown_names_are_one_line(model, capfd):
    for words, message in (
        (["-t", "wmt1914", "-l", "en-de"], "no test set 'wmt1914'; it has: "),
        (["-t", "wmt14", "-l", "xx-yy"], "no language pair 'xx-yy'; it has: "),
        (["-t", "wmt14"], "needs a language pair"),
        (["--src", "a", "--ref", "b", "--paired", "bs"], "--paired compares two models"),
    ):
        assert main(["evaluate", str(model), *words]) == 2
        err = capfd.readouterr().err
        assert message in err
        assert err.count("\n") == 1


def run_elsewhere(cache, *words):
    return subprocess.run(
        [sys.executable, "-m", "keras_int8nmt.cli", "evaluate", *map(str, words)],
        env=environment(cache),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_takes_a_named_set_from_the_cache_folder(model, tmp_path):
    prepare(tmp_path, "wmt14", src=SOURCES, ref=REFERENCES)
    done = run_elsewhere(
        tmp_path, model, "-t", "wmt14", "-l", "en-de", "--json", tmp_path / "f.json", *SHORT
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert figures["sentences"] == 3
    assert "|test:wmt14|lang:en-de|" in figures["signatures"]["TER"]


def test_the_command_says_where_a_named_set_was_looked_for(model, tmp_path):
    done = run_elsewhere(tmp_path, model, "-t", "wmt14/full", "-l", "en-de")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("keras-int8nmt evaluate: The test set 'wmt14/full' (en-de) is ")
    assert str(tmp_path / "wmt14" / "full") in done.stderr
    assert "--src and --ref" in done.stderr
