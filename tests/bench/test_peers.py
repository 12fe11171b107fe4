"""`bench peers`: one trained model through each way into INT8, on tiny models and fake engines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from keras_int8nmt import cli
from keras_int8nmt.bench.accuracy.corpora import Pairs
from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.bench.peers import report, run, training
from keras_int8nmt.bench.peers.calibration import prefixes, read_calibration, write_calibration
from keras_int8nmt.bench.peers.decoding import END, PAD, greedy, padded, translate
from keras_int8nmt.bench.peers.exports import DECODER, ENCODER, by_name
from keras_int8nmt.bench.peers.table import FLOAT, OURS, PEERS, Peer
from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.training.vocabulary import train_sentencepiece

SENTENCES = [f"a {a} dog sees {b} cats" for a in ("big", "small", "red") for b in "1234567"]
PAIRS = Pairs(SENTENCES, SENTENCES, "twenty-one sentences")
SIZES = {"vocabulary": 48, "length": 24, "width": 16, "hidden": 32, "heads": 2, "depth": 1}


class Counter:
    """Steps that count: the token after a prefix is one more than its last, up to the end."""

    def encode(self, source):
        return source.sum(axis=1)

    def next_logits(self, states, source, prefix):
        last = prefix[:, -1]
        # Begins with the sentence's own sum, and ends at 9.
        new = np.where(prefix.shape[1] == 1, states, np.where(last >= 9, END, last + 1))
        return np.eye(40)[new]


class ThreeSentences:
    """A corpus; of which part was asked for."""

    def __init__(self):
        self.read = []

    def valid(self, most):
        self.read.append("valid")
        return PAIRS

    def test(self, most):
        self.read.append("test")
        return Pairs(SENTENCES[:most], SENTENCES[:most], "the test set")


@pytest.fixture(scope="module")
def tokenizer():
    return train_sentencepiece(SENTENCES, vocabulary_size=SIZES["vocabulary"], model_type="bpe")


@pytest.fixture
def folder(tmp_path, tokenizer):
    """What training leaves, but for the weights; and what is calibrated on."""
    (tmp_path / training.TOKENIZER).mkdir()
    tokenizer.save(tmp_path / training.TOKENIZER)
    card = {"sizes": SIZES, "parameters": 1, "trained_on": "dogs and cats", "begun_with": "nothing"}
    card |= {"parts_of_an_epoch": 4, "history": [{"val_loss": 2.25}, {"val_loss": 2.5}]}
    (tmp_path / training.CARD).write_text(json.dumps(card))
    ids = [tokenizer.encode(text) for text in SENTENCES]
    write_calibration(tmp_path, ids, ids, 8, SIZES["length"])
    return tmp_path


@pytest.fixture
def fakes(monkeypatch):
    """Peers of `helpers.fake_engines`, which workers find."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    engine = "helpers.fake_engines:"
    return {
        FLOAT: Peer("in float", engine + "EchoPeer"),
        OURS: Peer("ours", engine + "EchoPeer"),
        "short": Peer("forgets half", engine + "ShortPeer", engine + "FilePeer", {"size": 1234}),
        "unable": Peer("fails", engine + "FailingPeer"),
        "fatal": Peer("dies as it exports", engine + "EchoPeer", engine + "DyingPeer"),
        "absent": Peer("is not there", engine + "EchoPeer", needs=("no_such_package",)),
    }


def test_the_search_goes_on_until_all_have_ended_and_each_keeps_its_own():
    source = np.array([[3, 0], [7, 1]], np.int32)
    assert greedy(Counter(), source, 20) == [[3, 4, 5, 6, 7, 8, 9, 1], [8, 9, 1]]
    assert greedy(Counter(), source, 3) == [[3, 4, 5], [8, 9, 1]]


def test_translations_are_in_the_order_of_the_sentences_in_any_batches():
    sentences = [[2, 1], [4, 2, 1], [1], [5, 1]]
    expected = [[3, 4, 5, 6, 7, 8, 9, 1], [7, 8, 9, 1], [1], [6, 7, 8, 9, 1]]
    for batch in (1, 2, 4):
        assert translate(Counter(), Job(1, batch, 1, 0, 12, sentences)) == expected


def test_sources_are_padded_to_few_widths():
    assert padded([[5, 1], [6, 7, 8]]).tolist() == [[5, 1] + [PAD] * 6, [6, 7, 8] + [PAD] * 5]
    assert padded([[5] * 8]).shape == (1, 8)


def test_calibration_has_pairs_that_fit_alone_and_prefixes_of_many_lengths(tmp_path):
    sources = [[i, 1] for i in range(2, 30)]
    targets = [[2] * (i % 12) + [1] for i in range(28)]
    write_calibration(tmp_path, sources, targets, 20, 10)
    kept, right = read_calibration(tmp_path)
    assert len(kept) == len(right) == 20
    assert max(map(len, right)) == 10
    found = list(prefixes(tmp_path))
    assert len({prefix.shape[1] for _, prefix in found}) > 3
    for (source, prefix), ids, whole in zip(found, kept, right, strict=True):
        assert source.tolist() == [ids]
        assert prefix.tolist()[0] == [PAD, *whole][: prefix.shape[1]]
        # The end token is never followed by anything.
        assert END not in prefix


def test_inputs_of_an_exported_half_are_found_by_name_and_else_by_place():
    given = {"states": 0, "source": 1, "prefix": 2}
    assert by_name(["args_0_prefix", "states:0", "source"], given, DECODER) == {
        "args_0_prefix": 2,
        "states:0": 0,
        "source": 1,
    }
    assert by_name(["args_0", "args_1", "args_2"], given, DECODER) == {
        "args_0": 0,
        "args_1": 1,
        "args_2": 2,
    }
    assert by_name(["x"], {"source": 1}, ENCODER) == {"x": 1}


def test_every_way_is_a_row_those_that_fail_with_their_reason(folder, fakes, tmp_path):
    docs = tmp_path / "docs"
    corpus = ThreeSentences()
    found = run.run_peers(
        state=str(folder), docs=str(docs), turns=2, corpus=corpus, peers=fakes, test=True
    )
    assert corpus.read.count("test") == 1
    peers = found["peers"]
    assert list(peers) == list(fakes)
    assert peers[FLOAT]["bleu"] == pytest.approx(100)
    assert peers[OURS]["difference"] == 0
    assert peers[OURS]["interval"] == [0, 0]
    assert peers["short"]["difference"] < -10
    assert peers["short"]["interval"][1] < 0
    assert peers["short"]["differing"] == len(SENTENCES)
    assert peers["short"]["bytes"] == 1234
    assert {batch: len(s) for batch, s in peers["short"]["speeds"].items()} == {"32": 2, "1": 2}
    assert peers["unable"]["failed"] == "ValueError: no such luck"
    assert peers["fatal"]["failed"] == "exited with status 3: Illegal instruction, or so"
    assert peers["absent"]["failed"] == "not installed: no_such_package"
    reasons = {row["name"]: row["reason"] for row in found["rows"] if "reason" in row}
    assert set(reasons) == {"unable", "fatal", "absent"}
    page = (docs / report.PAGE).read_text(encoding="utf-8")
    assert "| absent | is not there | failed, see below |" in page
    assert "- unable (fails): ValueError: no such luck" in page
    assert "21 sentences of the test set" in page
    assert "began with nothing and went on for 0.5 epochs of dogs and cats" in page
    assert "least loss on the validation set, 2.25" in page
    figures = json.loads((docs / f"{report.NAME}.json").read_text(encoding="utf-8"))
    assert figures["peers"] == peers


def test_the_test_set_is_not_opened_unless_it_is_asked_for(folder, fakes):
    corpus = ThreeSentences()
    two = {name: fakes[name] for name in (FLOAT, OURS)}
    found = run.run_peers(state=str(folder), corpus=corpus, peers=two, turns=1)
    assert "test" not in corpus.read
    assert found["scored"]["origin"] == "twenty-one sentences"


def test_without_the_float_model_there_is_nothing_to_compare_with(folder, fakes):
    broken = {**fakes, FLOAT: fakes["absent"]}
    with pytest.raises(BenchError, match="not installed: no_such_package"):
        run.run_peers(state=str(folder), corpus=ThreeSentences(), peers=broken, engines=["short"])


def test_engines_that_are_not_known_are_named(capsys):
    assert cli.main(["bench", "peers", "--engine", "nonsense"]) == 2
    assert f"There is no engine 'nonsense'; choose of {FLOAT}" in capsys.readouterr().err


def test_every_row_names_a_class_that_is_there():
    pytest.importorskip("keras_hub", reason="KerasHub is not installed")
    import importlib

    for peer in PEERS.values():
        for place in filter(None, (peer.engine, peer.export)):
            module, _, name = place.partition(":")
            assert isinstance(getattr(importlib.import_module(module), name), type)


@pytest.mark.slow
def test_a_model_of_kerashub_is_trained_and_becomes_int8(tmp_path):
    pytest.importorskip("keras_hub", reason="KerasHub is not installed")
    pairs = SENTENCES * 4, SENTENCES * 4
    training.train(tmp_path, 0.0, pairs, (SENTENCES, SENTENCES), dropout=0.0, **SIZES)
    card = training.read_card(tmp_path)
    assert card["sizes"]["width"] == SIZES["width"]
    assert len(card["history"]) == 1
    (tmp_path / OURS).mkdir()
    training.train(tmp_path, 0.0, pairs, (SENTENCES, SENTENCES), dropout=0.0, **SIZES)
    # Gone on with, what was made of the weights of before is made anew.
    assert training.read_card(tmp_path)["history"][:1] == card["history"]
    assert len(training.read_card(tmp_path)["history"]) == 2
    assert not (tmp_path / OURS).exists()
    tokens = training.load_tokenizer(tmp_path)
    ids = [tokens.encode(text) for text in SENTENCES]
    write_calibration(tmp_path, ids, ids, 8, SIZES["length"])
    names = (FLOAT, OURS, "ours-dynamic", "keras-int8")
    found = run.run_peers(
        state=str(tmp_path),
        corpus=ThreeSentences(),
        peers={name: PEERS[name] for name in names},
        turns=1,
    )
    peers = found["peers"]
    assert not [f"{name}: {facts['failed']}" for name, facts in peers.items() if "failed" in facts]
    assert peers[OURS]["settings"].endswith("products in INT8, 0 in float")
    assert peers[OURS]["bytes"] < peers[FLOAT]["bytes"]
