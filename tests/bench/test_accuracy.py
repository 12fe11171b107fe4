"""`bench accuracy`: its order, its state and its documents, on a toy model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.models import tiny_model

from keras_int8nmt import MarianTokenizer, cli, save_folder
from keras_int8nmt.bench.accuracy import recipes, scoring
from keras_int8nmt.bench.accuracy.choice import choose
from keras_int8nmt.bench.accuracy.corpora import CORPORA, CorpusFiles, PackagePairs, evenly
from keras_int8nmt.bench.accuracy.models import MODELS, BenchModel, find_model
from keras_int8nmt.bench.accuracy.recipes import RECIPES, Recipe
from keras_int8nmt.bench.accuracy.run import run_accuracy
from keras_int8nmt.bench.accuracy.state import Result, State
from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.bench.translation.sentences import VARIABLE
from keras_int8nmt.storage.builtin import FOLDER

pytestmark = pytest.mark.usefixtures("without_graphs")

FEW = [RECIPES[0], Recipe("naive", calibrate={"mode": "naive"}, may_be_default=True)]
PAPER = Recipe("naive, policy paper", calibrate={"mode": "naive"}, convert={"policy": "paper"})


def toy_model():
    """Knows nothing, but translates every sentence into something."""
    return tiny_model(max_length=24, seed=3)


class Watched(PackagePairs):
    """Tells which parts were read."""

    def __init__(self):
        self.read = []

    def valid(self, most):
        self.read.append("valid")
        return super().valid(most)

    def test(self, most):
        self.read.append("test")
        return super().test(most)


@pytest.fixture
def corpus():
    return Watched()


@pytest.fixture
def models(corpus):
    model = BenchModel("toy", toy_model, MarianTokenizer(FOLDER), corpus, "toy 1")
    return {"toy": lambda name: model}


@pytest.fixture
def run(models, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_int8nmt.bench.accuracy.run.CALIBRATION_SENTENCES", 6)

    def call(known=FEW, **options):
        options = {"models": ["toy"], "sentences": 6, "state": str(tmp_path / "s"), **options}
        return run_accuracy(known_models=models, known_recipes=known, **options)

    return call


def test_the_test_set_is_opened_after_the_choice_and_only_if_asked(
    run, corpus, tmp_path, monkeypatch
):
    figures = run()
    assert corpus.read == ["valid"]
    assert {row["part"] for row in figures["rows"]} == {"valid"}
    choice = json.loads((tmp_path / "s" / "choice.json").read_text("utf-8"))
    assert choice == figures["choice"]

    seen = []
    read = Watched.test
    monkeypatch.setattr(
        Watched,
        "test",
        lambda self, most: (
            seen.append((tmp_path / "t" / "choice.json").is_file()) or read(self, most)
        ),
    )
    run(test=True, state=str(tmp_path / "t"))
    assert seen == [True]


def test_a_run_goes_on_where_it_was_and_measures_nothing_twice(run, tmp_path, monkeypatch):
    first = run(test=True)
    calls = []
    monkeypatch.setattr(scoring, "_measure", lambda *a: calls.append(a))
    assert run(test=True) == first
    assert calls == []
    # The last line was cut off: that one is measured again.
    monkeypatch.undo()
    monkeypatch.setattr("keras_int8nmt.bench.accuracy.run.CALIBRATION_SENTENCES", 6)
    path = tmp_path / "s" / "results.jsonl"
    lines = path.read_text("utf-8").rstrip("\n").split("\n")
    path.write_text("\n".join([*lines[:-1], lines[-1][:-30]]), encoding="utf-8")
    made = []
    monkeypatch.setattr(scoring, "make_model", lambda *a: made.append(a))
    again = run(test=True)
    assert again["rows"] == first["rows"]
    # Its model was kept: what is scored on test is what was scored on validation.
    assert made == []


def test_the_choice_stands_once_a_test_set_was_scored(run):
    before = run(test=True)["choice"]
    assert before["among"] == ["naive"]
    figures = run([*FEW, PAPER], test=True)
    assert figures["choice"] == before
    assert [row["name"] for row in figures["rows"]][-1] == "naive, policy paper"


def test_rows_tell_matmuls_and_the_path(run):
    rows = {row["name"]: row for row in run([*FEW, PAPER])["rows"]}
    assert rows["float32"]["matmuls"] == 0
    assert rows["float32"]["difference"] == 0.0
    naive, paper = rows["naive"], rows["naive, policy paper"]
    assert naive["int8"] == naive["matmuls"] > 0
    assert naive["floats"] == {}
    # Of three attentions both products, of two feed-forward parts the second MatMul.
    assert paper["floats"] == {
        "policy: paper, product of two tensors": 6,
        "policy: paper, sparse input": 2,
    }
    assert paper["int8"] == paper["matmuls"] - 8
    assert 0 <= naive["differing"] <= naive["sentences"] == 6


def test_documents_have_a_table_for_each_set_and_the_papers(run, tmp_path):
    figures = run([*FEW, PAPER], test=True, docs=str(tmp_path / "docs"))
    content = (tmp_path / "docs" / "benchmarks-accuracy.md").read_text("utf-8")
    assert content.count("| naive (default, combination) |") == 2
    assert "### Test, scored once: the package's odd sentence pairs, 6 sentences" in content
    assert "leaves 8 of" in content
    assert "6 product of two tensors; 2 sparse input" in content
    assert "Calibrated on 6 sentences" in content
    written = json.loads((tmp_path / "docs" / "benchmarks-accuracy.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(figures))


ROW = {"model": "m", "int8": 9, "matmuls": 9, "chrf_difference": 0.0, "may_be_default": True}


def test_the_best_on_validation_is_chosen():
    def rows(model, **differences):
        return [{**ROW, "model": model, "name": n, "difference": d} for n, d in differences.items()]

    found = [*rows("m", a=-0.1, b=0.1, c=0.3), *rows("n", a=0.0, b=-0.1, c=-0.4)]
    choice = choose(found)
    assert (choice["default"], choice["combination"]) == ("b", "b")
    assert choice["best"] == {"m": "c", "n": "a"}
    assert choice["means"] == pytest.approx({"a": -0.05, "b": 0.0, "c": -0.05})
    # What is no single method is no default; what keeps a MatMul in float is no combination.
    for row in found:
        row["may_be_default"] = row["name"] != "b"
        row["int8"] -= row["name"] == "b"
    choice = choose(found)
    assert (choice["default"], choice["combination"]) == ("a", "a")
    assert choose(rows("m", float32=0.0))["combination"] is None


def test_recipes_have_names_of_their_own_and_can_be_written_down():
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)
    assert RECIPES[0].name == "float32"
    assert len({json.dumps(recipe.identity()) for recipe in RECIPES}) == len(RECIPES)


def test_parts_of_the_package_share_no_sentence():
    pairs = PackagePairs()
    parts = [pairs.calibration(600), pairs.valid(None), pairs.test(None)]
    sets = [set(part.sources) for part in parts]
    assert all(len(each) > 90 for each in sets)
    assert not sets[0] & sets[1] | sets[0] & sets[2] | sets[1] & sets[2]


def test_sentences_are_taken_at_even_distances():
    assert evenly(range(10), 5) == [1, 3, 5, 7, 9]
    assert evenly(range(3), 5) == [0, 1, 2]
    taken = np.array(evenly(range(1000), 7))
    assert np.diff(taken).min() >= 142


def test_a_corpus_is_read_part_by_part(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    folder = tmp_path / "c"
    folder.mkdir()
    for part, words in (("train", "abcd"), ("valid", "ef"), ("test", "gh")):
        for language in ("en", "de"):
            text = "".join(f"{word} {language}\n" for word in words)
            (folder / f"{part}.{language}").write_text(text, encoding="utf-8")
    corpus = CorpusFiles("c", "en", "de")
    assert corpus.is_there()
    assert corpus.calibration(2).sources == ["b en", "d en"]
    assert corpus.valid(None)[:2] == (["e en", "f en"], ["e de", "f de"])
    (folder / "test.de").write_text("one line\n", encoding="utf-8")
    assert corpus.valid(None).origin == "c/valid"
    with pytest.raises(BenchError, match=r"c/test.en has 2 lines and c/test.de 1"):
        corpus.test(None)
    monkeypatch.setitem(CORPORA, "c", CorpusFiles("c", "en", "fr"))
    with pytest.raises(BenchError, match=f"not complete in .*{VARIABLE}"):
        find_model("builtin@c")


def test_results_of_another_key_do_not_count(tmp_path):
    result = Result(1.0, 2.0, "s", "fast", 1, 2, {"r": 1}, ["ä"])
    State(tmp_path).add({"part": "test", "model": "a"}, result)
    state = State(tmp_path)
    assert state.result({"model": "a", "part": "test"}) == result
    assert state.result({"model": "b", "part": "test"}) is None
    assert state.has_seen_test("a")
    assert not state.has_seen_test("b")


def test_what_is_not_there_is_refused(capsys, tmp_path):
    save_folder(toy_model(), tmp_path / "bare")
    for options, named in (
        (["--model", str(tmp_path / "none")], "no model folder"),
        (["--model", str(tmp_path / "bare")], "has no tokenizer"),
        (["--model", "builtin@nothing"], "no corpus 'nothing'"),
        (
            ["--model", "builtin@package", "--recipe", "magic"],
            "no recipe 'magic'; choose of float32",
        ),
        (2 * ["--model", "builtin@package"], "Two models have one name"),
    ):
        state = ["--state", str(tmp_path / "s")]
        assert cli.main(["bench", "accuracy", *state, *options]) == 2
        assert named in capsys.readouterr().err
    assert cli.main(["bench", "gemm", "--test"]) == 2
    assert "only the benchmark peers and accuracy has the option --test" in capsys.readouterr().err
    assert "builtin" in MODELS


@pytest.mark.slow
def test_the_command_scores_the_builtin_model_and_a_folder(tmp_path, capsys):
    save_folder(toy_model(), tmp_path / "toy", MarianTokenizer(FOLDER))
    command = ["bench", "accuracy", "--test", "--sentences", "40", "--recipe", "symmetric"]
    command += ["--model", "builtin@package", "--model", f"{tmp_path / 'toy'}@package"]
    command += ["--state", str(tmp_path / "s"), "--json", str(tmp_path / "a.json")]
    assert cli.main(command) == 0
    rows = json.loads((tmp_path / "a.json").read_text("utf-8"))["rows"]
    assert [(r["model"], r["part"], r["name"]) for r in rows] == [
        (model, part, name)
        for part in ("valid", "test")
        for model in ("builtin", "toy")
        for name in ("float32", "symmetric")
    ]
    good = [row for row in rows if row["model"] == "builtin"]
    assert all(row["bleu"] > 20 for row in good)
    assert all(row["interval"][0] <= row["difference"] <= row["interval"][1] for row in good)
    assert "symmetric" in capsys.readouterr().out


def test_recipes_of_the_same_histograms_watch_the_model_once(models, corpus, monkeypatch):
    watched = []
    calibrate = recipes.calibrate
    monkeypatch.setattr(
        recipes, "calibrate", lambda *a, **k: (watched.append(k.get("mode")), calibrate(*a, **k))
    )
    model = models["toy"](None)
    material = recipes.Material(model, corpus.calibration(6).sources, lambda: corpus.valid(6))

    def scales(material, mode):
        recipe = Recipe(mode, calibrate={"mode": mode, "unsigned": False})
        found = recipes.make_model(recipe, material).conversion_report.rows
        return [row.thresholds for row in found]

    shared = [scales(material, mode) for mode in ("naive", "symmetric")]
    assert watched == ["naive"]
    fresh = recipes.Material(model, material.sentences, material.valid)
    assert shared[1] == scales(fresh, "symmetric")
    assert shared[0] != shared[1]
    assert watched == ["naive", "symmetric"]
