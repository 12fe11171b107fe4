"""SavedModels in TensorFlow's C library: the loader and session of servers, without Python."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers.builtin_model import calibrated, tokenizer
from helpers.models import random_ids, tiny_model
from tensorflow.core.protobuf import saved_model_pb2

from keras_int8nmt import Translator, convert, export_saved_model, native

SEARCH = {"beam_size": 3, "num_hypotheses": 2, "min_length": 3}
SERVING = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text("utf-8")

# Loads as TensorFlow Serving does: the tag "serve", then runs what a signature names.
PROGRAM = """
import ctypes as c, json, math, sys
told = json.load(sys.stdin)
tf = c.CDLL(told["tensorflow"])
for name in ("NewStatus", "NewGraph", "NewSessionOptions", "LoadSessionFromSavedModel",
             "GraphOperationByName", "AllocateTensor", "TensorData", "LoadLibrary"):
    getattr(tf, "TF_" + name).restype = c.c_void_p
tf.TF_Message.restype, tf.TF_Dim.restype = c.c_char_p, c.c_int64
status = c.c_void_p(tf.TF_NewStatus())
def check():
    if tf.TF_GetCode(status):
        raise SystemExit(tf.TF_Message(status).decode())
class Output(c.Structure):
    _fields_ = [("operation", c.c_void_p), ("index", c.c_int)]
def output(name):
    name, _, index = name.partition(":")
    operation = tf.TF_GraphOperationByName(graph, name.encode())
    assert operation, name
    return Output(operation, int(index))
if told["library"]:
    tf.TF_LoadLibrary(told["library"].encode(), status)
    check()
graph, options = c.c_void_p(tf.TF_NewGraph()), c.c_void_p(tf.TF_NewSessionOptions())
tags = (c.c_char_p * 1)(b"serve")
session = c.c_void_p(tf.TF_LoadSessionFromSavedModel(
    options, None, told["folder"].encode(), tags, 1, graph, None, status))
check()
ids = told["ids"]
shape = (c.c_int64 * 2)(len(ids), len(ids[0]))
tensor = c.c_void_p(tf.TF_AllocateTensor(3, shape, 2, c.c_size_t(4 * shape[0] * shape[1])))
flat = (c.c_int32 * (shape[0] * shape[1]))(*(i for row in ids for i in row))
c.memmove(tf.TF_TensorData(tensor), flat, c.sizeof(flat))
outputs = (Output * len(told["outputs"]))(*map(output, told["outputs"].values()))
found = (c.c_void_p * len(outputs))()
inputs, values = (Output * 1)(output(told["input"])), (c.c_void_p * 1)(tensor)
tf.TF_SessionRun(
    session, None, inputs, values, 1, outputs, found, len(outputs), None, 0, None, status)
check()
def listed(tensor):
    tensor = c.c_void_p(tensor)
    shape = [tf.TF_Dim(tensor, i) for i in range(tf.TF_NumDims(tensor))]
    kind = {1: c.c_float, 3: c.c_int32}[tf.TF_TensorType(tensor)]
    flat = (kind * math.prod(shape)).from_address(tf.TF_TensorData(tensor))
    return {"shape": shape, "values": list(flat)}
print(json.dumps({name: listed(each) for name, each in zip(told["outputs"], found)}))
assert "keras" not in " ".join(sys.modules) and "tensorflow" not in sys.modules
with open("/proc/self/maps") as maps:
    assert bool(told["library"]) == ("keras_int8nmt" in maps.read())
"""


def signature_of(folder):
    """What a server reads: the signature of the graph with the tag that it looks for."""
    read = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (graph,) = (each for each in read.meta_graphs if list(each.meta_info_def.tags) == ["serve"])
    return graph.signature_def["serving_default"]


def served(folder, ids, library=None):
    signature = signature_of(folder)
    inputs, outputs = (
        {name: each.name for name, each in of.items()}
        for of in (signature.inputs, signature.outputs)
    )
    told = {
        "tensorflow": str(Path(tf.sysconfig.get_lib()) / "libtensorflow_cc.so.2"),
        "library": library, "folder": str(folder), "ids": ids,
        "input": inputs["source_ids"], "outputs": outputs,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM],
        input=json.dumps(told),
        env={k: v for k, v in os.environ.items() if not k.startswith("KERAS_INT8NMT")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: np.reshape(each["values"], each["shape"]) for name, each in found.items()}


@pytest.fixture(scope="module")
def model():
    return convert(tiny_model(max_length=24), activations="dynamic")


@pytest.mark.parametrize("ops", ["stock", "native"])
def test_tensorflow_without_python_gives_the_same_tokens(model, ops, tmp_path):
    """With nothing of ours for stock operations, with the library of ops for the native one."""
    if ops == "native" and native.functions() is None:
        pytest.skip(f"no native library: {native.reason()}")
    sentences = random_ids(model, 6)
    width = max(map(len, sentences))
    ids = [[*each, *[model.pad_id] * (width - len(each))] for each in sentences]
    export_saved_model(model, tmp_path / "1", ops=ops, **SEARCH)
    library = None if ops == "stock" else str(native.FOLDER / "libkeras_int8nmt.so")
    found = served(tmp_path / "1", ids, library)
    with Translator(model, None, **SEARCH) as translator:
        expected = translator.translate_ids(sentences)
    for i, result in enumerate(expected):
        for j, hypothesis in enumerate(result.hypotheses):
            length = int(found["lengths"][i, j])
            assert found["tokens"][i, j, :length].tolist() == list(hypothesis.tokens)
            assert math.isclose(found["scores"][i, j], hypothesis.score, rel_tol=1e-5)


def documented_request():
    """The body of the request of the page, and the name of the model that it asks."""
    found = re.search(r"curl -d '(\{.*?\})' \\\n +http://\S*/v1/models/(\S+):predict", SERVING)
    assert found is not None
    return json.loads(found[1]), found[2]


def test_the_documented_request_is_one_that_the_signature_takes(model, tmp_path):
    request, _ = documented_request()
    export_saved_model(model, tmp_path / "1", ops="stock", beam_size=1)
    signature = signature_of(tmp_path / "1")
    assert signature.method_name == "tensorflow/serving/predict"
    assert request.keys() == {"inputs"}
    assert request["inputs"].keys() == signature.inputs.keys() == {"source_ids"}
    assert signature.outputs.keys() == {"tokens", "lengths", "scores"}
    (source,) = signature.inputs.values()
    assert source.dtype == tf.int32.as_datatype_enum
    # Rows of any number and length, all of them as long.
    assert [size.size for size in source.tensor_shape.dim] == [-1, -1]
    assert np.array(request["inputs"]["source_ids"]).shape == (2, 6)


@pytest.mark.slow
def test_the_documented_request_is_answered_by_translations(tmp_path):
    """Exported and laid out as the page says, and asked what it says, with the built-in model."""
    request, name = documented_request()
    folder = re.search(rf"export \S+ -o (serving/{name}/1) --ops stock --beam-size 4\n", SERVING)[1]
    texts = ["Where is the station?", "It rains."]
    model, ids = convert(calibrated()), request["inputs"]["source_ids"]
    assert [[i for i in row if i != model.pad_id] for row in ids] == [
        tokenizer().encode(text) for text in texts
    ]
    (tmp_path / folder).parent.mkdir(parents=True)
    export_saved_model(model, tmp_path / folder, ops="stock", beam_size=4)
    found = served(tmp_path / folder, ids)
    with Translator(model, tokenizer(), beam_size=4) as translator:
        expected = translator(texts)
    rows = zip(found["tokens"][:, 0], found["lengths"][:, 0], strict=True)
    assert [tokenizer().decode(row[:n].tolist()) for row, n in rows] == expected
    assert "Bahnhof" in expected[0]
