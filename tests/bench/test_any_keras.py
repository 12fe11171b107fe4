"""`bench keras`: models as people write them, through quantize_model and convert."""

from __future__ import annotations

import json
import math
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt import cli
from keras_int8nmt.bench.any_keras import engines, onnx_export, report, run
from keras_int8nmt.bench.any_keras.cases import CASES, NANO, Case
from keras_int8nmt.bench.any_keras.products import int8_model
from keras_int8nmt.bench.any_keras.subject import Subject
from keras_int8nmt.bench.any_keras.tensorflow_tutorial import tensorflow_tutorial
from keras_int8nmt.bench.any_keras.worker import relative_error

# Of what Keras does so that tf2onnx works with NumPy 2.
OF_TF2ONNX = pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")


def test_a_model_goes_all_the_way_and_the_page_is_written(tmp_path, capsys):
    page, figures = tmp_path / "docs", tmp_path / "a.json"
    command = ["bench", "keras", "--case", "nano-mlp", "--engine", "keras", "--engine"]
    command += ["keras-int8", "--docs", str(page), "--json", str(figures)]
    assert cli.main(command) == 0
    found = json.loads(figures.read_text(encoding="utf-8"))
    model = found["models"]["nano-mlp"]["threads"]["1"]
    assert model["products"]["int8"] == 3
    assert model["products"]["float32"] == 0
    assert model["products"]["share"] == 1
    assert 0 < model["errors"]["ours"] < 0.05
    assert model["errors"]["keras"] == 0
    assert set(model["seconds"]["1"]) == {"ours", "keras", "keras-int8"}
    assert [(row["name"], row["case"]) for row in found["rows"]] == [
        ("multiplications in INT8", "nano-mlp"),
        ("relative error vs keras-int8", "nano-mlp"),
        ("call vs keras", "nano-mlp b1 t1"),
        ("call vs keras-int8", "nano-mlp b1 t1"),
    ]
    assert "3 of 3 products in INT8" in capsys.readouterr().out
    written = (page / f"{report.NAME}.md").read_text(encoding="utf-8")
    assert "| nano-mlp | 3 / 0 | 100.0 % |" in written
    assert "bench keras: end" in written


def test_products_in_float_are_counted_with_the_reason_and_a_calibrated_model_is_used_again(
    tmp_path, monkeypatch
):
    subject = NANO["nano-vision-transformer"].make()
    calibration = subject.inputs(2, np.random.default_rng(0))
    model, found = int8_model(subject, calibration, tmp_path)
    # The patches are cut by a convolution of ones and zeros.
    assert found["float32"] == sum(found["reasons"].values()) == 1
    assert 0 < found["share"] < 1
    assert found["uncounted"] == 0
    monkeypatch.setattr(type(subject.model), "predict", None)  # calibrates no more
    again, same = int8_model(subject, calibration, tmp_path)
    assert same == found
    np.testing.assert_array_equal(again(calibration), model(calibration))


def test_a_process_that_a_signal_ended_is_told_by_the_signal(monkeypatch):
    words = "a warning of some library"
    monkeypatch.setattr(
        run.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], -9, "", words)
    )
    assert run._measured({}) == {"failed": "ended by SIGKILL, as where memory runs out"}


def test_what_cannot_be_measured_is_a_row_with_the_reason(tmp_path, monkeypatch):
    absent = Case("nowhere:make", threads=(1,), package="no_such_package")
    failing = Case("nowhere:make", threads=(1, 512))
    monkeypatch.setitem(CASES, "absent", absent)
    monkeypatch.setitem(CASES, "failing", failing)
    monkeypatch.setattr(run, "_measured", lambda request: {"failed": "ValueError: no"})
    found = run.run_keras(cases=["absent", "failing"], docs=str(tmp_path))
    assert [row["reason"] for row in found["rows"]] == [
        "no_such_package is not installed",
        "ValueError: no",
        found["rows"][2]["reason"],
    ]
    assert found["rows"][2]["reason"].startswith("more threads than cores")
    assert "no_such_package is not installed" in (tmp_path / f"{report.NAME}.md").read_text()


def test_an_engine_that_is_missing_with_some_threads_alone_is_a_row_too():
    found = {"errors": {"ours": 0.01}, "seconds": {}}
    found["products"] = {"int8": 1, "float32": 0, "reasons": {}, "share": 1, "uncounted": 0}
    by_threads = {"1": {**found, "reasons": {}}, "2": {**found, "reasons": {"keras-xla": "no"}}}
    row = run.rows_of("some", by_threads)[-1]
    assert (row["name"], row["reason"]) == ("call vs keras-xla", "no")


def test_models_and_engines_that_are_not_known_are_named(capsys):
    assert cli.main(["bench", "keras", "--case", "nonsense"]) == 2
    assert "There is no model 'nonsense'; choose of mlp" in capsys.readouterr().err
    assert cli.main(["bench", "keras", "--engine", "nonsense"]) == 2
    assert "There is no engine 'nonsense'; choose of keras" in capsys.readouterr().err


def test_an_engine_of_a_library_that_is_not_installed_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    setting = engines.Setting(None, NANO["nano-mlp"].make, None, 1, tmp_path)
    with pytest.raises(
        engines.MissingError, match="onnxruntime and onnx and tf2onnx not installed"
    ):
        engines.PEERS["onnxruntime-int8"](setting)


def test_the_error_is_relative_to_what_is_right_over_all_outputs():
    right = {"a": np.full((2, 3), 2.0), "b": np.full(6, 2.0)}
    found = {"a": np.full((2, 3), 2.0), "b": np.full(6, 2.2)}
    assert relative_error(found, right) == pytest.approx(0.1 / np.sqrt(2))


@OF_TF2ONNX
def test_an_export_computes_what_keras_does_and_has_large_weights_and_gelu(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
    from onnx.reference import ReferenceEvaluator

    monkeypatch.setattr(onnx_export, "_LARGE", 256)  # some are above and some below
    subject = NANO["nano-vision-transformer"].make()
    assert {math.prod(v.shape) >= 256 for v in subject.model.weights} == {True, False}
    x = subject.inputs(3, np.random.default_rng(0))
    path = tmp_path / "float.onnx"
    onnx_export.export(subject.model, subject.inputs(2, np.random.default_rng(1)), path)
    exported = onnx.load(path)
    onnx.checker.check_model(exported)
    (given,) = exported.graph.input
    (found,) = ReferenceEvaluator(exported).run(None, {given.name: x})
    np.testing.assert_allclose(found, subject.model(x), atol=1e-5)
    operations = {node.op_type for node in exported.graph.node}
    assert operations >= {"Erf", "Div"}
    assert "Erfc" not in operations
    read = {name for node in exported.graph.node for name in node.input}
    constants = {each.name for each in exported.graph.initializer}
    assert constants <= read
    for node in exported.graph.node:
        assert not set(node.input) <= constants, f"{node.op_type} of constants alone"


class Tables(keras.layers.Layer):
    """Holds constant tensors, large and small."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(3)
        self.floats = tf.constant(rng.normal(size=(200, 4)), tf.float32)
        self.indices = tf.constant(rng.integers(200, size=300), tf.int64)
        self.small = tf.constant(rng.normal(size=4), tf.float32)
        self.scaled = tf.function(lambda x: x * self.floats[7], autograph=False)
        self.dense = keras.layers.Dense(4)

    def call(self, ids):
        rows = tf.gather(self.floats, tf.gather(self.indices, ids))
        rows += self.floats[tf.newaxis, : tf.shape(ids)[1]]
        return self.dense(self.scaled(rows + self.small))


def tables():
    def inputs(batch, rng):
        return rng.integers(300, size=(batch, 6)).astype(np.int32)

    return Subject(keras.Sequential([keras.Input((6,), dtype="int32"), Tables()]), inputs)


def small_tutorial():
    subject = tensorflow_tutorial(vocabulary=40, length=8, depth=1, width=16, hidden=32, heads=2)
    assert tf.is_tensor(subject.model.encoder.embedding.waves)
    return subject


@OF_TF2ONNX
@pytest.mark.filterwarnings("ignore:.*mask:UserWarning")  # of the tutorial's own layers
@pytest.mark.parametrize("make", [tables, small_tutorial])
def test_constant_tensors_that_a_model_holds_have_their_values_in_an_export(tmp_path, make):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
    from onnx.reference import ReferenceEvaluator

    subject, path = make(), tmp_path / "float.onnx"
    rng = np.random.default_rng(0)
    onnx_export.export(subject.model, subject.inputs(2, rng), path)
    exported, x = onnx.load(path), subject.inputs(5, rng)
    onnx.checker.check_model(exported)
    given = [each.name for each in exported.graph.input]
    (found,) = ReferenceEvaluator(exported).run(
        None, dict(zip(given, tf.nest.flatten(x), strict=True))
    )
    np.testing.assert_allclose(found, subject.model(x), atol=1e-5)


@OF_TF2ONNX
def test_an_export_with_an_input_that_is_none_of_the_models_names_it(tmp_path, monkeypatch):
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
    subject = tables()
    monkeypatch.setattr(onnx_export, "captured", lambda graph: {})
    with pytest.raises(ValueError, match=r"has 4 inputs beside weights .* model 1: args_0_0, .*/"):
        onnx_export.export(
            subject.model, subject.inputs(2, np.random.default_rng(0)), tmp_path / "float.onnx"
        )


def test_inputs_get_values_and_what_constants_alone_lead_to_is_computed():
    pytest.importorskip("onnx", reason="onnx is not installed")
    from onnx import TensorProto, helper, numpy_helper

    value = helper.make_tensor_value_info
    make = helper.make_node
    model = helper.make_model(
        helper.make_graph(
            [
                make("Reshape", ["w", "shape"], ["flat"]),
                make("Neg", ["flat"], ["negated"]),
                make("Mul", ["x", "negated"], ["y"]),
                make("Abs", ["flat"], ["z"]),
            ],
            "g",
            [value("x", TensorProto.FLOAT, [4]), value("w", TensorProto.FLOAT, [2, 2])],
            [value("y", TensorProto.FLOAT, [4]), value("z", TensorProto.FLOAT, [4])],
            [
                helper.make_tensor("shape", TensorProto.INT64, [1], [4]),
                helper.make_tensor("unread", TensorProto.FLOAT, [], [1.0]),
            ],
        )
    )
    assert onnx_export.fill(model, {"w": np.arange(4, dtype=np.float32).reshape(2, 2)}) == 2
    assert [each.name for each in model.graph.input] == ["x"]
    assert [node.op_type for node in model.graph.node] == ["Mul", "Abs"]
    found = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    assert set(found) == {"negated", "flat"}
    np.testing.assert_array_equal(found["negated"], [0, -1, -2, -3])


@pytest.mark.parametrize("negated", [True, False])
def test_an_erfc_that_onnx_lacks_is_written_as_erf(negated):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    nodes = [helper.make_node("Neg" if negated else "Abs", ["x"], ["n"], "n")]
    nodes.append(helper.make_node("Mul", ["n", "c"], ["z"], "z"))
    nodes.append(helper.make_node("Erfc", ["z"], ["y"], "erfc"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "gelu",
        [value("x", TensorProto.FLOAT, [3])],
        [value("y", TensorProto.FLOAT, [3])],
        [helper.make_tensor("c", TensorProto.FLOAT, [], [0.7])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
    assert onnx_export.with_erf(model) == 1
    onnx.checker.check_model(model)
    x = np.array([-1.0, 0.0, 2.0], np.float32)
    from math import erfc

    expected = [erfc(0.7 * (-v if negated else abs(v))) for v in x]
    (found,) = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-5)
