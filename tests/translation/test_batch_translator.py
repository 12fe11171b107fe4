"""`BatchTranslator`: columns of every kind in and out, on whichever process it lands."""

from __future__ import annotations

import json
import math
import os
import pickle
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.models import calibrate_on_sentences, tiny_model

from keras_int8nmt import (
    BatchTranslator,
    MarianTokenizer,
    convert,
    load_translator,
    native,
    save_folder,
)
from keras_int8nmt.storage.builtin import FOLDER, read_pairs
from keras_int8nmt.storage.folders import ModelFolderError
from keras_int8nmt.translation import batch_translator
from keras_int8nmt.translation.columns import BatchError

pytestmark = pytest.mark.skipif(
    native.reason() is not None, reason=f"no native library: {native.reason()}"
)

TEXTS = [source for source, _ in read_pairs()[1]][:5]
SEARCH = {"beam_size": 2, "max_length": 10, "streams": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model, place = tiny_model(max_length=16), tmp_path_factory.mktemp("model") / "int8"
    calibrate_on_sentences(model, MarianTokenizer(FOLDER), TEXTS)
    save_folder(convert(model), place, MarianTokenizer(FOLDER))
    return place


@pytest.fixture(scope="module")
def expected(folder):
    with load_translator(folder, **SEARCH) as translator:
        return translator.translate(TEXTS)


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(batch_translator, "_loaded", {})


def lists(values):
    return list(values)


def arrays(values):
    return np.array(values, object)


def series(values):
    pandas = pytest.importorskip("pandas")
    return pandas.Series(values, index=range(7, 7 + len(values)))


def arrow(values):
    return pytest.importorskip("pyarrow").array(values)


def chunked(values):
    return pytest.importorskip("pyarrow").chunked_array([values[:2], values[2:]])


def plain(column):
    """Its values, None where one is missing in whatever way."""
    values = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
    return [None if isinstance(v, float) and math.isnan(v) else v for v in values]


KINDS = [lists, arrays, series, arrow, chunked]


@pytest.mark.parametrize("make", KINDS)
def test_columns_of_every_kind_become_columns_of_the_kind(folder, expected, make):
    translate = BatchTranslator(folder, score_column="score", finished_column="done", **SEARCH)
    batch = {"text": make([None, *TEXTS, ""]), "id": make(list(map(str, range(7))))}
    found = translate(batch)
    assert list(found) == ["text", "id", "translation", "score", "done"]
    assert set(batch) == {"text", "id"}
    assert found["id"] is batch["id"]
    library = type(batch["id"]).__module__.partition(".")[0]
    assert {type(c).__module__.partition(".")[0] for c in found.values()} == {library}
    rows = {name: plain(column) for name, column in found.items()}
    assert rows["translation"] == [None, *(each.text for each in expected), ""]
    assert rows["score"] == [None, *(each.hypotheses[0].score for each in expected), 0.0]
    assert rows["done"] == [None, *(each.finished for each in expected), True]
    assert rows["done"].count(False) > 0
    if make is series:
        assert list(found["translation"].index) == list(batch["text"].index)


def test_what_nothing_is_missing_of_is_bool_and_float(folder):
    translate = BatchTranslator(
        folder, score_column="score", finished_column="done", source_cut_column="cut", **SEARCH
    )
    with pytest.warns(UserWarning, match="Row 2 of column 'text' has .* longer ones than 16"):
        found = translate({"text": np.array([*TEXTS[:2], "long " * 40], object)})
    assert found["score"].dtype == np.float64
    assert found["done"].dtype == found["cut"].dtype == np.bool_
    assert found["cut"].tolist() == [False, False, True]


def test_tables_and_frames_become_tables_and_frames(folder, expected):
    pyarrow, pandas = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
    translate = BatchTranslator(folder, column="en", output_column="de", **SEARCH)
    texts = [each.text for each in expected]
    ids = [2**60 + i for i in range(len(TEXTS))]
    batch = pyarrow.RecordBatch.from_pydict({"en": TEXTS, "id": ids, "de": ["old"] * len(ids)})
    for table in (batch, pyarrow.Table.from_batches([batch])):
        found = translate(table)
        assert type(found) is type(table)
        assert found.to_pydict() == {"en": TEXTS, "id": ids, "de": texts}
    frame = pandas.DataFrame({"en": [*TEXTS, math.nan]}, index=range(4, 10))
    found = translate(frame)
    assert found["de"].tolist()[:-1] == texts
    assert found["de"].isna().tolist() == [False] * 5 + [True]
    assert list(frame.columns) == ["en"]


def test_a_row_that_fails_takes_no_other_with_it(folder, expected):
    batch = {"text": [TEXTS[0], 5, TEXTS[1], b"bytes"]}
    translate = BatchTranslator(folder, error_column="error", **SEARCH)
    found = translate(batch)
    assert found["translation"] == [expected[0].text, None, expected[1].text, None]
    assert found["error"] == [None, "it is int, no text", None, "it is bytes, no text"]
    refusal = "Row 1 of column 'text' can't be translated: it is int, no text. So are 1 more"
    with pytest.raises(BatchError, match=re.escape(refusal)):
        BatchTranslator(folder, **SEARCH)(batch)


def test_a_row_that_the_tokenizer_refuses_is_told_by_its_reason(folder, expected, monkeypatch):
    translate = BatchTranslator(folder, error_column="error", **SEARCH)
    tokenizer = translate.translator().tokenizer
    encode = tokenizer.encode

    def refusing(text):
        if text == TEXTS[1]:
            raise ValueError("no such letter")
        return encode(text)

    monkeypatch.setattr(tokenizer, "encode", refusing)
    found = translate({"text": [None, *TEXTS[:3]]})
    assert found["translation"] == [None, expected[0].text, None, expected[2].text]
    assert found["error"] == [None, None, "it can't be tokenized: no such letter", None]


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ({"en": ["a"]}, BatchError, "no column 'text'; it has 'en'"),
        ({"text": "one"}, BatchError, "must be of many rows; it is str. .* batched=True"),
        (["a"], TypeError, "it is a list"),
    ],
)
def test_what_is_no_batch_is_refused(folder, batch, error, message):
    with pytest.raises(error, match=message):
        BatchTranslator(folder)(batch)


def test_options_are_checked_where_it_is_made():
    with pytest.raises(TypeError, match="no option 'beams'"):
        BatchTranslator("anywhere", beams=3)
    with pytest.raises(ValueError, match="names of their own"):
        BatchTranslator("anywhere", score_column="x", error_column="x")
    with pytest.raises(ValueError, match="`verify`"):
        BatchTranslator("anywhere", verify="no")


def test_copies_share_what_a_process_loads_once(folder, monkeypatch):
    loads = []

    def load(*arguments, **options):
        loads.append(arguments)
        return load_translator(*arguments, **options)

    monkeypatch.setattr(batch_translator, "load_translator", load)
    one = BatchTranslator(folder, **SEARCH)
    copies = [pickle.loads(pickle.dumps(one)) for _ in range(4)]
    assert len(pickle.dumps(one)) < 1000
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda copy: copy({"text": TEXTS}), copies))
    assert all(each == found[0] for each in found)
    assert len(loads) == 1
    BatchTranslator(folder, **SEARCH, column="en")({"en": TEXTS})
    assert len(loads) == 1
    BatchTranslator(folder, **{**SEARCH, "beam_size": 1})({"text": TEXTS})
    assert len(loads) == 2


PROGRAM = """
import json, os, pickle, sys

translate = pickle.loads(bytes.fromhex(sys.stdin.readline()))
texts = json.loads(sys.stdin.readline())
print(json.dumps(translate({"text": texts})["translation"]), flush=True)
if os.fork() == 0:
    print(json.dumps(translate({"text": texts})["translation"]), flush=True)
    os._exit(0)
os.wait()
print(sorted({"tensorflow", "keras"} & set(sys.modules)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_it_is_made_without_the_folder_and_works_in_another_process_and_in_its_fork(
    folder, expected, monkeypatch
):
    monkeypatch.chdir(folder.parent)
    translate = BatchTranslator(folder.name, **SEARCH)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=f"{pickle.dumps(translate).hex()}\n{json.dumps(TEXTS)}\n",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd="/", capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *found, modules = done.stdout.splitlines()
    assert [json.loads(line) for line in found] == [[each.text for each in expected]] * 2
    assert modules == "[]"


def test_a_folder_that_is_not_on_the_worker_is_told_with_the_machine(tmp_path):
    translate = pickle.loads(pickle.dumps(BatchTranslator(tmp_path / "gone")))
    told = f"no model folder '{tmp_path / 'gone'}' on '{platform.node()}'"
    with pytest.raises(ModelFolderError, match=re.escape(told)):
        translate({"text": ["a"]})
    # Without a text nothing is opened.
    assert translate({"text": [None]}) == {"text": [None], "translation": [None]}
