"""SavedModels of TensorFlow's own operations: the same answers with nothing but TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers.models import random_ids, tiny_model

from keras_int8nmt import Translator, convert, export_saved_model, load_saved_model, native
from keras_int8nmt.storage import builtin as builtin_model

SEARCH = {"beam_size": 3, "num_hypotheses": 2, "min_length": 3, "length_penalty": 0.7}

# A server that has TensorFlow and can't have this package or its library.
PROGRAM = """
import json, sys
sys.modules["keras_int8nmt"] = None
import numpy as np
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
found = served(source_ids=tf.constant(np.array(json.load(sys.stdin), np.int32)))
with open("/proc/self/maps") as maps:
    assert "keras_int8nmt" not in maps.read()
print(json.dumps({name: x.numpy().tolist() for name, x in found.items()}))
"""


def served_elsewhere(folder, ids):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        input=json.dumps(ids.tolist()),
        env={k: v for k, v in os.environ.items() if not k.startswith("KERAS_INT8NMT")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def padded(model, sentences):
    width = max(map(len, sentences)) + 9
    return np.array([[*s, *[model.pad_id] * (width - len(s))] for s in sentences], np.int32)


def check(model, found, sentences, tolerance, **changes):
    """`found` are the tokens and, relative to `tolerance`, the scores that a `Translator` gives."""
    with Translator(model, None, **SEARCH | changes) as translator:
        expected = translator.translate_ids(sentences)
    tokens, lengths, scores = (found[name] for name in ("tokens", "lengths", "scores"))
    assert len(tokens) == len(sentences)
    for i, result in enumerate(expected):
        got = [tokens[i][j][: lengths[i][j]] for j in range(len(lengths[i])) if lengths[i][j]]
        assert got == [list(h.tokens) for h in result.hypotheses]
        for score, hypothesis in zip(scores[i], result.hypotheses, strict=False):
            assert abs(score - hypothesis.score) <= tolerance * max(1, abs(score))


def test_a_process_with_nothing_but_tensorflow_gives_the_same_tokens(tmp_path):
    model = convert(tiny_model(max_length=24), activations="dynamic")
    sentences = random_ids(model, 8)
    export_saved_model(model, tmp_path / "served", ops="stock", **SEARCH)
    found = served_elsewhere(tmp_path / "served", padded(model, sentences))
    check(model, found, sentences, 1e-5)
    # What was exported computes as it did.
    assert model.native_refusal() is None
    with pytest.raises(ValueError, match="`ops` must be 'native' or 'stock'; received 'own'"):
        export_saved_model(model, tmp_path / "other", ops="own")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["int8", "integer", "mixed", "float"])
def test_every_kind_of_model_is_served_by_stock_operations(kind, tmp_path):
    from helpers.builtin_model import calibrated, tokenizer

    model = {
        "int8": lambda: convert(calibrated()),
        "integer": lambda: convert(calibrated(), softmax="integer", layer_norm="integer"),
        "mixed": lambda: convert(calibrated(), policy="paper"),
        "float": lambda: builtin_model.load_builtin(quant=False),
    }[kind]()
    _, pairs = builtin_model.read_pairs()
    sentences = [tokenizer().encode(source) for source, _ in pairs[:8]]
    options = {"max_length": 20}
    export_saved_model(model, tmp_path / "served", ops="stock", **SEARCH, **options)
    found = served_elsewhere(tmp_path / "served", padded(model, sentences))
    # Float products have sums of TensorFlow's order, which may move a code by a step.
    tolerance = {"mixed": 1e-3, "float": 1e-4}.get(kind, 1e-5)
    check(model, found, sentences, tolerance, **options)
    if kind == "int8":
        # Weights are plain, a byte each, and not the float32 that they are packed as.
        size = sum(file.stat().st_size for file in (tmp_path / "served").rglob("*"))
        assert size < 1.5 * sum(x.nbytes for x in model.spec(packed=False).tensors.values())


@pytest.mark.slow
def test_it_loads_where_the_library_is_off_and_can_be_saved_again(tmp_path, monkeypatch):
    model = tiny_model(max_length=24)
    ids = padded(model, random_ids(model, 3))
    monkeypatch.setattr(native, "_loaded", native._Loaded(reason="KERAS_INT8NMT_NATIVE=0"))
    export_saved_model(model, tmp_path / "served", ops="stock", beam_size=1)
    loaded = load_saved_model(tmp_path / "served")
    expected = loaded.translate(ids)
    tf.saved_model.save(loaded, str(tmp_path / "again"), signatures=loaded.signatures)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 24 tokens"):
        loaded.translate(np.full((1, 25), 5, np.int32))
    # Its functions do not keep its variables.
    again = load_saved_model(tmp_path / "again")
    np.testing.assert_array_equal(again.translate(ids)["tokens"], expected["tokens"])
