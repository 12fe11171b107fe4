"""Files by the nodes of a Ray cluster: the bytes of one machine, whatever dies on the way."""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
import warnings

import pytest
from helpers.models import calibrate_on_sentences, tiny_model
from helpers.ray_cluster import LocalCluster

from keras_int8nmt import MarianTokenizer, convert, load_translator, native, save_folder
from keras_int8nmt.cli import main
from keras_int8nmt.clusters import pool as pool_module
from keras_int8nmt.clusters.errors import ClusterError, RayMissingError
from keras_int8nmt.clusters.pool import NodePool
from keras_int8nmt.clusters.session import ray_module
from keras_int8nmt.clusters.worker import NodeTranslator, Piece
from keras_int8nmt.storage.builtin import FOLDER, read_pairs
from keras_int8nmt.storage.card import fingerprint

needs_ray = pytest.mark.skipif(
    native.reason() is not None, reason=f"no native library: {native.reason()}"
)
try:
    ray = ray_module()
except RayMissingError as missing:
    ray = None
    needs_ray = pytest.mark.skip(reason=str(missing))

# Of Ray's own files and sockets, where a node was killed.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SENTENCES = [source for source, _ in read_pairs()[1]]
SEARCH = ["--beam-size", "2", "--max-length", "10", "--window", "16", "--quiet"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    place, small = tmp_path_factory.mktemp("model") / "int8", tiny_model(max_length=40)
    calibrate_on_sentences(small, MarianTokenizer(FOLDER), SENTENCES[:4])
    save_folder(convert(small), place, MarianTokenizer(FOLDER))
    return place


@pytest.fixture(scope="module")
def cluster():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with LocalCluster() as cluster:
            yield cluster


@pytest.fixture
def pool(model):
    made = []

    def make(folder=model, known=None, **options):
        made.append(NodePool(ray, str(folder), known or fingerprint(model), options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def translate(model, source, target, *options):
    return main(["translate", *map(str, [model, source, "-o", target, *SEARCH, *options])])


def write_text(path):
    lines = [*SENTENCES[:150], "", "\t", *SENTENCES[150:200]]
    path.write_text("".join(line + "\n" for line in lines), "utf-8")


def write_jsonl(path):
    rows = [{"id": i, "en": text, "more": [1.50]} for i, text in enumerate(SENTENCES[:80])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_parquet(path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    texts = [None, *SENTENCES[:60], ""]
    table = pyarrow.table({"en": texts, "id": [2**60 + i for i in range(len(texts))]})
    parquet.write_table(table, path, row_group_size=25)


FILES = {
    "packed": ("in.en", "out.de.gz", write_text, ()),
    "jsonl": ("in.jsonl", "out.jsonl", write_jsonl, ("--input-format", "jsonl", "--field", "en")),
    "parquet": (
        "in.parquet", "out.parquet", write_parquet, ("--input-format", "parquet", "--field", "en")
    ),
}  # fmt: skip


@needs_ray
@pytest.mark.parametrize("kind", FILES)
def test_the_file_of_a_cluster_is_that_of_one_machine_to_the_byte(model, cluster, tmp_path, kind):
    source, target, write, options = FILES[kind]
    write(tmp_path / source)
    assert translate(model, tmp_path / source, tmp_path / target, *options) == 0
    expected = (tmp_path / target).read_bytes()
    figures = tmp_path / "figures.json"
    again = [*options, "--force", "--ray", "--json", figures]
    assert translate(model, tmp_path / source, tmp_path / target, *again) == 0
    assert (tmp_path / target).read_bytes() == expected
    assert sorted(os.listdir(tmp_path)) == sorted([source, target, "figures.json"])
    assert json.loads(figures.read_text())["precision"] == "int8"


@needs_ray
def test_no_line_is_lost_or_doubled_where_actors_and_nodes_are_killed(model, cluster, tmp_path):
    chance = random.Random(1)
    lines = [chance.choice(SENTENCES) for _ in range(3000)]
    (tmp_path / "in.en").write_text("".join(line + "\n" for line in lines), "utf-8")
    search = ["--beam-size", "8", "--max-length", "40"]
    assert translate(model, tmp_path / "in.en", tmp_path / "one.de", *search) == 0
    words = [model, tmp_path / "in.en", "-o", tmp_path / "many.de", *SEARCH, *search, "--ray"]
    process = cluster.start("translate", *words)
    kills = cluster.kill_at_random(process, seed=1, pause=1.0, most=4)
    _, told = process.communicate()
    assert process.returncode == 0, told
    print(f"killed: {kills}")
    assert sum(kills.values())
    assert (tmp_path / "many.de").read_bytes() == (tmp_path / "one.de").read_bytes()


@needs_ray
@pytest.mark.parametrize("order", [("--ray", None), (None, "--ray"), ("--ray", "--ray")])
def test_a_run_is_gone_on_with_by_others(model, cluster, tmp_path, order, capsys):
    source = tmp_path / "in.en"
    content = [text.encode() for text in SENTENCES[:160]]
    content[100] = b"\xfc"
    source.write_bytes(b"\n".join(content) + b"\n")
    assert translate(model, source, tmp_path / "one.de", "--on-error", "empty") == 0
    first, then = ([each] if each else [] for each in order)
    capsys.readouterr()
    assert translate(model, source, tmp_path / "out.de", *first) == 2
    assert "in.en, line 101: not UTF-8" in capsys.readouterr().err
    assert json.loads((tmp_path / "out.de.progress").read_text())["lines"] == 96
    rest = ["--resume", "--on-error", "empty", *then]
    assert translate(model, source, tmp_path / "out.de", *rest) == 0
    assert (tmp_path / "out.de").read_bytes() == (tmp_path / "one.de").read_bytes()


@needs_ray
def test_what_nodes_have_to_tell_is_told_by_the_line(model, cluster, pool):
    pending = pool(streams=1).begin(Piece("news", 11, [SENTENCES[0], None, "very long " * 60]))
    told = []
    with pytest.warns(UserWarning, match="news, line 13, has .* longer ones than 40"):
        found = pending.results(told.append)
    assert told == [2]
    with load_translator(model) as translator:
        assert found[0].text == translator([SENTENCES[0]])[0]
    assert found[1].source_cut


@needs_ray
def test_without_the_model_on_the_nodes_the_reason_is_told(model, cluster, pool, tmp_path):
    gone = pool(folder=tmp_path / "gone").begin(Piece("news", 1, ["a"]))
    told = re.escape(f"There is no model folder '{tmp_path / 'gone'}'")
    with pytest.warns(UserWarning, match="left out"), pytest.raises(ClusterError, match=told):
        gone.results()
    other = pool(known="another").begin(Piece("news", 1, ["a"]))
    told = "another model there"
    with pytest.warns(UserWarning, match=told), pytest.raises(ClusterError, match=told):
        other.results()


class Poisoned(NodeTranslator):
    """Dies of one text."""

    def translate(self, piece):
        if "POISON" in piece.lines:
            os._exit(1)
        return super().translate(piece)


@needs_ray
def test_a_piece_that_kills_its_actors_is_named_and_the_others_are_answered(
    model, cluster, pool, monkeypatch
):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(pool_module, "NodeTranslator", Poisoned)
    monkeypatch.setattr(pool_module, "_SUSPICIOUS", 1)
    monkeypatch.setattr(pool_module, "_MOST_FAILURES", 3)
    nodes = pool()
    texts = [[each] for each in SENTENCES[:5]]
    begun = [
        nodes.begin(Piece("news", 10 * i, ["POISON", "x"] if i == 2 else text))
        for i, text in enumerate(texts)
    ]
    with load_translator(model) as translator:
        for i, pending in enumerate(begun):
            if i == 2:
                with pytest.raises(ClusterError, match="news, lines 20 to 21: 3 actors died"):
                    pending.results()
            else:
                assert [each.text for each in pending.results()] == translator(texts[i])
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@needs_ray
def test_a_node_that_joins_gets_an_actor_and_one_actor_is_on_each(model, cluster, pool):
    nodes = pool()
    assert nodes.begin(Piece("news", 1, ["a"])).results()
    wait_for(lambda: len(cluster.actors()) == len(cluster.nodes), nodes)
    cluster.replace_node(random.Random(0))
    wait_for(lambda: len(cluster.actors()) == len(cluster.nodes), nodes)
    assert nodes.begin(Piece("news", 1, ["a"])).results()


def wait_for(what, nodes):
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        assert nodes.begin(Piece("news", 1, ["a"])).results()


@pytest.mark.skipif(ray is not None, reason="Ray is there")
def test_without_ray_the_extra_is_named_before_anything_is_written(model, tmp_path, capsys):
    write_text(tmp_path / "in.en")
    assert translate(model, tmp_path / "in.en", tmp_path / "out.de", "--ray") == 2
    assert "pip install keras-int8nmt[ray]" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["in.en"]
