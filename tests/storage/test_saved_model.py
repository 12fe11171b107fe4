"""SavedModels of a trained model: the answers of `Translator`, wherever they are loaded."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers.builtin_model import calibrated, calibrated_shallow, load_shallow, tokenizer
from helpers.models import random_ids, small_model

from keras_int8nmt import (
    Translator,
    convert,
    export_saved_model,
    load_saved_model,
    native,
)
from keras_int8nmt.ops.translate_op import translate
from keras_int8nmt.runtime.search_defaults import SearchDefaults
from keras_int8nmt.runtime.token_bans import NoSequences
from keras_int8nmt.storage import (
    builtin as builtin_model,
)
from keras_int8nmt.storage.folders import ModelFolderError

SEARCH = {"beam_size": 3, "num_hypotheses": 2}
KINDS = ("int8", "mixed", "float")

PROGRAM = """
import json, sys
import numpy as np
from keras_int8nmt import load_saved_model
ids = np.array(json.load(sys.stdin), np.int32)
for folder in sys.argv[1:]:
    served = load_saved_model(folder).signatures["serving_default"]
    found = served(source_ids=ids)
    print(json.dumps({name: x.numpy().tolist() for name, x in found.items()}))
"""


@pytest.fixture(autouse=True)
def _needs_the_library():
    if native.functions() is None:
        pytest.skip(f"no native library: {native.reason()}")


@functools.cache
def model_of(kind):
    if kind == "float":
        return load_shallow(quant=False)
    return convert(calibrated_shallow(), policy="paper" if kind == "mixed" else None)


@functools.cache
def sentences():
    _, pairs = builtin_model.read_pairs()
    return [tokenizer().encode(source) for source, _ in pairs[:24]]


def padded(ids, extra=0):
    width = max(map(len, ids)) + extra
    pad = model_of("int8").pad_id
    return np.array([[*each, *[pad] * (width - len(each))] for each in ids], np.int32)


def translated(kind, path, **settings):
    with Translator(model_of(kind), None, path=path, **SEARCH, **settings) as translator:
        results = translator.translate_ids(sentences())
    return [[(h.tokens, h.score) for h in r.hypotheses] for r in results]


def unpacked(found):
    if isinstance(found, dict):
        found = (found["tokens"], found["lengths"], found["scores"])
    tokens, lengths, scores = (np.asarray(x) for x in found)
    return [
        [(row[:n].tolist(), float(score)) for row, n, score in zip(*each, strict=True) if n > 0]
        for each in zip(tokens, lengths, scores, strict=True)
    ]


@functools.cache
def search_arguments(kind):
    options = Translator(model_of(kind), None, **SEARCH).options
    return {
        "divisors": np.asarray(options.divisors()),
        "spec": model_of(kind).spec(),
        **SEARCH,
    }


def search(kind, ids, **changes):
    return unpacked(translate(ids, **search_arguments(kind) | changes))


# ---- the op


@pytest.mark.parametrize("kind", KINDS)
def test_the_op_is_equal_to_the_translator(kind):
    found = search(kind, padded(sentences()))
    assert found == translated(kind, "fast")
    if kind == "int8":  # the others are equal to the fast path, and that is held to the layers
        assert found == translated(kind, "layers")


@pytest.mark.parametrize("kind", ["int8", "mixed"])
def test_padding_order_and_company_never_change_an_answer(kind):
    ids = sentences()
    expected = search(kind, padded(ids))
    assert search(kind, padded(ids, extra=9)) == expected
    assert search(kind, padded(ids[::-1])) == expected[::-1]
    assert search(kind, padded(ids), batch_size=5) == expected
    for i in (0, 7, 23):
        assert search(kind, np.int32([ids[i]])) == [expected[i]]


def test_the_bounds_of_the_search_are_kept():
    settings = {"min_length": 12, "max_length": 14, "length_penalty": 0.5}
    options = Translator(model_of("int8"), None, **SEARCH, **settings).options
    found = search(
        "int8", padded(sentences()), divisors=np.asarray(options.divisors()), min_length=12
    )
    assert {len(tokens) for each in found for tokens, _ in each} <= {12, 13, 14}
    assert found == translated("int8", "fast", **settings)


def test_places_without_a_hypothesis_are_empty():
    """One step ends fewer hypotheses than the beam has places."""
    options = Translator(model_of("int8"), None, **SEARCH, max_length=1).options
    arguments = search_arguments("int8") | {"divisors": np.asarray(options.divisors())}
    tokens, lengths, scores = translate(padded(sentences()[:2]), **arguments)
    np.testing.assert_array_equal(lengths, [[1, 0], [1, 0]])
    assert np.isneginf(scores[:, 1]).all()
    np.testing.assert_array_equal(tokens[:, 1], model_of("int8").pad_id)


def test_it_runs_in_graphs_and_in_the_threads_of_tf_data():
    ids = sentences()
    expected = search("int8", padded(ids))
    function = tf.function(lambda x: translate(x, **search_arguments("int8")))
    assert unpacked(function(padded(ids))) == expected
    data = tf.data.Dataset.from_tensor_slices(padded(ids)).batch(3)
    data = data.map(lambda x: translate(x, **search_arguments("int8")), num_parallel_calls=4)
    assert [each for batch in data for each in unpacked(batch)] == expected


# ---- the SavedModel


def test_a_fresh_process_gives_the_same_bits(tmp_path):
    for kind in KINDS:
        export_saved_model(model_of(kind), tmp_path / kind, **SEARCH)
    ids = padded(sentences())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *(str(tmp_path / kind) for kind in KINDS)],
        input=json.dumps(ids.tolist()),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for kind, line in zip(KINDS, done.stdout.splitlines()[-len(KINDS) :], strict=True):
        assert unpacked(json.loads(line)) == search(kind, ids), kind


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "served"
    export_saved_model(model_of("int8"), folder, **SEARCH)
    return folder


def test_two_models_in_one_process_are_kept_apart(folder, tmp_path):
    export_saved_model(model_of("mixed"), tmp_path / "mixed", **SEARCH)
    ids = padded(sentences()[:5])
    loaded = [load_saved_model(folder), load_saved_model(tmp_path / "mixed")]
    again = load_saved_model(folder)
    assert unpacked(loaded[0].translate(ids)) == search("int8", ids)
    assert unpacked(loaded[1].translate(ids)) == search("mixed", ids)
    del loaded
    assert unpacked(again.translate(ids)) == search("int8", ids)


def test_it_loads_in_a_session_as_servers_do(folder):
    """TensorFlow's C++ loader runs the same steps: restore, then initialize."""
    ids = padded(sentences()[:5])
    loader = tf.compat.v1.saved_model
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signature = loader.load(session, ["serve"], str(folder)).signature_def["serving_default"]
        outputs = {name: x.name for name, x in signature.outputs.items()}
        found = session.run(outputs, {signature.inputs["source_ids"].name: ids})
    assert unpacked(found) == search("int8", ids)


def test_what_is_loaded_can_be_saved_again(folder, tmp_path):
    loaded = load_saved_model(folder)
    tf.saved_model.save(loaded, str(tmp_path / "again"), signatures=loaded.signatures)
    ids = padded(sentences()[:5])
    again = load_saved_model(tmp_path / "again")
    assert unpacked(again.signatures["serving_default"](source_ids=ids)) == search("int8", ids)


def test_stored_weights_are_plain_and_each_is_stored_once(tmp_path):
    # The whole model: beside the weights of a shallow one the graph is large.
    model, folder = convert(calibrated()), tmp_path / "served"
    export_saved_model(model, folder, **SEARCH)
    reader = tf.train.load_checkpoint(str(folder / "assets" / "weights"))
    kernels = reader.get_variable_to_dtype_map()
    assert set(kernels.values()) == {tf.int8}
    spec = model.spec(packed=False)
    assert set(kernels) == set(spec.weights)
    for name in spec.weights:
        np.testing.assert_array_equal(reader.get_tensor(name), spec.tensors[name])
    # The tied embedding is there once, beside the output projection that has its codes too.
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert size < 1.5 * sum(spec.tensors[name].size for name in spec.weights)


def test_a_damaged_file_is_seen_when_it_is_loaded(tmp_path):
    export_saved_model(model_of("int8"), tmp_path / "served")
    path = tmp_path / "served" / "assets" / "weights.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=r"served.*Checksum does not match") as caught:
        load_saved_model(tmp_path / "served")
    assert isinstance(caught.value.__cause__, tf.errors.DataLossError)


# ---- SavedModels of releases before

RELEASES = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize("kind", ["int8", "mixed", "dynamic", "integer"])
def test_a_saved_model_of_release_0_1_0_gives_the_bits_that_it_gave(kind, tmp_path):
    """Its op has no names: two lists in one fixed order."""
    release = RELEASES / "release_0_1_0"
    with zipfile.ZipFile(release / f"saved_model_{kind}.zip") as archive:
        archive.extractall(tmp_path)
    given = json.loads((release / "expected.json").read_text())
    expected = [
        [(tokens, float.fromhex(score)) for score, *tokens in hypotheses]
        for hypotheses in given["answers"][kind]["fast beam 3"]
    ]
    ids = given["ids"]
    width = max(map(len, ids))
    with zipfile.ZipFile(release / "int8.zip") as archive:
        pad = json.loads(archive.read("int8/vocab.json"))["<pad>"]
    rows = np.array([[*each, *[pad] * (width - len(each))] for each in ids], np.int32)
    assert unpacked(load_saved_model(tmp_path).translate(rows)) == expected


# ---- what is refused


def test_a_folder_is_not_overwritten(folder, tmp_path):
    with pytest.raises(ModelFolderError, match="exists already; force replaces it"):
        export_saved_model(model_of("int8"), folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("Dear Sir")
    with pytest.raises(ModelFolderError, match=r"holds other files and no saved_model.pb"):
        export_saved_model(model_of("int8"), other, force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["other"]


def test_force_replaces_a_saved_model(tmp_path):
    for beam_size in (1, 2):
        export_saved_model(model_of("int8"), tmp_path / "m", beam_size=beam_size, force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["m"]
    ids = padded(sentences()[:3])
    expected = search("int8", ids, beam_size=2, num_hypotheses=1)
    assert unpacked(load_saved_model(tmp_path / "m").translate(ids)) == expected


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"beam_size": 0}, ValueError, "`beam_size` must be at least 1"),
        ({"beam_size": 2, "num_hypotheses": 3}, ValueError, "more than `beam_size`, 2"),
        ({"min_length": 9, "max_length": 8}, ValueError, "`min_length` is 9"),
        ({"length_penalty": np.inf}, ValueError, "`length_penalty` must be finite"),
        ({"batch_size": 1.5}, TypeError, "`batch_size` must be a whole number"),
    ],
)
def test_wrong_options(options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        export_saved_model(model_of("int8"), tmp_path / "m", **options)
    assert not list(tmp_path.iterdir())


def test_models_that_the_decoder_does_not_run(tmp_path):
    with pytest.raises(TypeError, match=r"str has no max_length, .* native_refusal, spec"):
        export_saved_model("model", tmp_path / "m")


def test_what_is_not_there_or_not_ours(tmp_path):
    with pytest.raises(ModelFolderError, match=r"is no SavedModel: it has no file saved_model.pb"):
        load_saved_model(tmp_path / "nothing")
    tf.saved_model.save(tf.Module(), str(tmp_path / "other"))
    with pytest.raises(ModelFolderError, match="but not of export_saved_model"):
        load_saved_model(tmp_path / "other")


def test_a_later_format_is_refused(folder, tmp_path):
    loaded = load_saved_model(folder)
    loaded.keras_int8nmt_format.assign(2)
    tf.saved_model.save(loaded, str(tmp_path / "later"), signatures=loaded.signatures)
    with pytest.raises(
        ModelFolderError, match="has format version 2; this release reads version 1"
    ):
        load_saved_model(tmp_path / "later")


def test_both_need_the_native_library(folder, tmp_path, monkeypatch):
    model = model_of("int8")
    monkeypatch.setattr(native, "_loaded", native._Loaded(reason="KERAS_INT8NMT_NATIVE=0"))
    message = "needs the native library: KERAS_INT8NMT_NATIVE=0"
    with pytest.raises(RuntimeError, match=message):
        export_saved_model(model, tmp_path / "m")
    with pytest.raises(RuntimeError, match=message):
        load_saved_model(folder)


def test_a_wrong_call_is_an_error_of_tensorflow(folder):
    loaded = load_saved_model(folder)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"expected 0 to .* source vocabulary"):
        loaded.translate(np.int32([[10**6]]))


def test_what_a_model_asks_of_its_search_is_exported_or_told(tmp_path):
    model = convert(small_model(), activations="dynamic")
    asked = {"beam_size": 2, "max_length": 7, "token_filters": (NoSequences(((3,),)),)}
    model.search_defaults = SearchDefaults(asked)
    with pytest.warns(UserWarning, match="token_filters, which a SavedModel can't do"):
        export_saved_model(model, tmp_path / "served")
    ids = random_ids(model)[:3]
    loaded = load_saved_model(tmp_path / "served")
    served = loaded.translate(padded_rows(model, ids))
    with Translator(model, None, beam_size=2, max_length=7, token_filters=[]) as translator:
        expected = [one.hypotheses[0].tokens for one in translator.translate_ids(ids)]
    lengths, rows = (served[name].numpy()[:, 0] for name in ("lengths", "tokens"))
    tokens = [row[:n].tolist() for row, n in zip(rows, lengths, strict=True)]
    assert tokens == expected
    assert max(lengths) <= 7


def padded_rows(model, ids):
    longest = max(map(len, ids))
    return np.array([[*row, *[model.pad_id] * (longest - len(row))] for row in ids], np.int32)
