"""Data sets of Ray Data: every row once, with its translation."""

from __future__ import annotations

import warnings

import pytest
from helpers.models import calibrate_on_sentences, tiny_model
from helpers.ray_cluster import LocalCluster

from keras_int8nmt import MarianTokenizer, convert, load_translator, native, save_folder
from keras_int8nmt.clusters import RayMissingError, translate_dataset
from keras_int8nmt.clusters.session import ray_module
from keras_int8nmt.storage.builtin import FOLDER, read_pairs

try:
    ray = ray_module()
except RayMissingError as missing:
    pytest.skip(str(missing), allow_module_level=True)

pytestmark = [
    pytest.mark.skipif(native.reason() is not None, reason=f"no library: {native.reason()}"),
    # Of Ray Data's own files, threads and old names.
    pytest.mark.filterwarnings("ignore"),
]
SENTENCES = [source for source, _ in read_pairs()[1]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    place, small = tmp_path_factory.mktemp("model") / "int8", tiny_model(max_length=40)
    calibrate_on_sentences(small, MarianTokenizer(FOLDER), SENTENCES[:4])
    save_folder(convert(small), place, MarianTokenizer(FOLDER))
    return place


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with LocalCluster(2, cores=2) as cluster:
            yield cluster


def test_rows_are_those_of_one_process(model):
    rows = [{"id": 2**60 + i, "en": text} for i, text in enumerate([None, *SENTENCES[:99]])]
    data = ray.data.from_items(rows).repartition(6)
    found = translate_dataset(
        data, model, "en", output_column="de", finished_column="done", batch_size=16,
        beam_size=2, max_length=10,
    ).take_all()  # fmt: skip
    with load_translator(model, beam_size=2, max_length=10) as translator:
        expected = [None, *translator.translate(SENTENCES[:99])]
    assert sorted(found, key=lambda row: row["id"]) == [
        {**row, "de": each and each.text, "done": each and each.finished}
        for row, each in zip(rows, expected, strict=True)
    ]


def test_what_is_wrong_with_the_options_is_told_at_once(model):
    data = ray.data.from_items([{"text": "a"}])
    with pytest.raises(TypeError, match="no option 'beams'"):
        translate_dataset(data, model, beams=2)
    with pytest.raises(ValueError, match="batch_size"):
        translate_dataset(data, model, batch_size=0)
