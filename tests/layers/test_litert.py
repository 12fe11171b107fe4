"""Calibrated models in LiteRT files: they run there in INT8, near what the simulation computes."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_int8nmt import (
    Int8Gather,
    QuantAttention,
    QuantDense,
    build_transformer,
    convert,
    simulate,
)
from keras_int8nmt.layers import (
    QuantEinsumDense,
    QuantGroupQueryAttention,
    QuantReversibleEmbedding,
    ranges_in_exports,
)
from keras_int8nmt.layers.model_state import observers, set_state, settle
from keras_int8nmt.quantization import quantize_weights

tf = pytest.importorskip("tensorflow", reason="exports are TensorFlow's")
litert = pytest.importorskip(
    "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed: no LiteRT files run"
)

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(64, 16)).astype("float32")
SEQUENCES = RNG.normal(size=(8, 5, 16)).astype("float32")
IDS = RNG.integers(1, 20, (8, 6)).astype("int32")
IDS[:, 4:] = 0


def mlp():
    layers = QuantDense(32, activation="relu"), QuantDense(24, activation="gelu"), QuantDense(8)
    return keras.Sequential([keras.Input((16,)), *layers])


def residual():
    x = keras.Input((5, 16))
    h = QuantDense(16)(QuantDense(32, activation="relu")(x))
    h = keras.layers.LayerNormalization()(keras.layers.Add()([x, h]))
    return keras.Model(x, QuantDense(4)(h))


def attention():
    ids = keras.Input((6,), dtype="int32")
    e = Int8Gather(20, 16, mask_zero=True)(ids)
    h = keras.layers.Add()([e, QuantAttention(2, 8)(e, e, use_causal_mask=True)])
    h = keras.layers.LayerNormalization()(h)
    return keras.Model(ids, QuantDense(3)(h))


def cross_attention():
    x = keras.Input((5, 16))
    return keras.Model(x, QuantAttention(2, 8)(x, QuantDense(12)(x)))


def group_query():
    x = keras.Input((5, 16))
    return keras.Model(x, QuantGroupQueryAttention(8, 4, 2)(x, x))


def einsum():
    x = keras.Input((5, 16))
    h = QuantEinsumDense("abc,cde->abde", (None, 2, 4), bias_axes="de", activation="relu")(x)
    return keras.Model(x, QuantEinsumDense("abde,def->abf", (None, 8))(h))


def tied():
    ids = keras.Input((6,), dtype="int32")
    table = QuantReversibleEmbedding(20, 16)
    return keras.Model(ids, table(keras.layers.LayerNormalization()(table(ids)), reverse=True))


# With the products that each has, by the operations that LiteRT has for them.
MODELS = {
    mlp: (ROWS, {"FULLY_CONNECTED": 3}),
    residual: (SEQUENCES, {"FULLY_CONNECTED": 3}),
    attention: (IDS, {"FULLY_CONNECTED": 5, "BATCH_MATMUL": 2}),
    cross_attention: (SEQUENCES, {"FULLY_CONNECTED": 5, "BATCH_MATMUL": 2}),
    group_query: (SEQUENCES, {"FULLY_CONNECTED": 4, "BATCH_MATMUL": 2}),
    einsum: (SEQUENCES, {"FULLY_CONNECTED": 2}),
    tied: (IDS, {"FULLY_CONNECTED": 1}),
}


def calibrated(model, x):
    set_state(model, "observing")
    model(x)
    settle(model)
    set_state(model, "float")
    return model


def exported(model, x, folder, **options):
    path = folder / "model.tflite"
    options |= {"optimizations": [tf.lite.Optimize.DEFAULT], "verbose": False}
    with ranges_in_exports(model, "litert", sample=x):
        model.export(path, format="litert", **options)
    return path


def state(model, x):
    """What an export must leave as it was: outputs, and what the observers hold."""
    held = [(o.thresholds(), o.to_histogram().counts.sum()) for _, o in observers(model)]
    return np.asarray(model(x)), held


@dataclass
class Exported:
    """A calibrated model, its file, and its `state` before and after that was written."""

    model: keras.Model
    path: Path
    before: tuple
    after: tuple


@pytest.fixture(scope="module")
def export_of(tmp_path_factory):
    """Exports a model of `MODELS`, each once: an export takes seconds."""

    @functools.cache
    def export_of(build):
        keras.utils.set_random_seed(0)
        x, _ = MODELS[build]
        model = calibrated(build(), x)
        before = state(model, x)
        path = exported(model, x, tmp_path_factory.mktemp(build.__name__))
        return Exported(model, path, before, state(model, x))

    return export_of


@dataclass
class File:
    """A LiteRT file that is open, without delegates, which would hide its operations."""

    interpreter: object

    @classmethod
    def opened(cls, path, **kwargs):
        kwargs = kwargs or {
            "experimental_op_resolver_type": (
                litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            )
        }
        return cls(litert.Interpreter(model_path=str(path), **kwargs))

    @property
    def tensors(self):
        return {t["index"]: t for t in self.interpreter.get_tensor_details()}

    def products(self):
        """Of each product: the operation, its two inputs and its output."""
        tensors = self.tensors
        return [
            (
                o["op_name"],
                tensors[o["inputs"][0]],
                tensors[o["inputs"][1]],
                tensors[o["outputs"][0]],
            )
            for o in self.interpreter._get_ops_details()
            if o["op_name"] in ("FULLY_CONNECTED", "BATCH_MATMUL", "CONV_2D")
        ]

    def run(self, *inputs):
        places = [details["index"] for details in self.interpreter.get_input_details()]
        for place, x in zip(places, inputs, strict=True):
            self.interpreter.resize_tensor_input(place, x.shape)
        self.interpreter.allocate_tensors()
        for place, x in zip(places, inputs, strict=True):
            self.interpreter.set_tensor(place, x)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.interpreter.get_output_details()[0]["index"])


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_all_products_are_int8_and_outputs_near_the_simulation(build, export_of):
    x, expected = MODELS[build]
    found = export_of(build)
    model, path = found.model, found.path
    file = File.opened(path)
    products = file.products()
    assert Counter(name for name, *_ in products) == expected
    for _, *tensors in products:
        assert [t["dtype"] for t in tensors] == [np.int8] * 3
    for name, _, weights, _ in products:
        if name == "FULLY_CONNECTED":
            scales = weights["quantization_parameters"]["scales"]
            assert len(scales) == weights["shape"][0]
            assert not np.any(weights["quantization_parameters"]["zero_points"])
    simulate(model)
    simulated = np.asarray(model(x))
    # LiteRT's own part of the error: outputs of products have one byte.
    assert 0 < rms(file.run(x) - simulated) < 0.04 * rms(simulated)
    # The kernels that its interpreter takes by itself.
    assert rms(File.opened(path, num_threads=1).run(x) - simulated) < 0.04 * rms(simulated)


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "own tables"])
def test_a_transformer_is_int8_throughout_with_its_output_projection(tied, tmp_path):
    keras.utils.set_random_seed(0)
    layers = {"num_encoder_layers": 1, "num_decoder_layers": 1}
    sizes = {"model_dim": 16, "num_heads": 2, "ffn_dim": 32, "tie_embeddings": tied}
    model = build_transformer(source_vocabulary_size=20, **sizes, **layers)
    x = {"source": IDS, "target": IDS[:, :4]}
    calibrated(model, x)
    specs = {
        name: keras.InputSpec(shape=(None, *ids.shape[1:]), dtype="int32")
        for name, ids in x.items()
    }
    path = exported(model, x, tmp_path, input_signature=[specs])
    file = File.opened(path)
    products = file.products()
    # Three attentions of six products, two Dense layers each side, and the output.
    assert len(products) == 3 * 6 + 4 + 1
    for _, *tensors in products:
        assert [t["dtype"] for t in tensors] == [np.int8] * 3
    simulate(model)
    simulated = np.asarray(model(x))
    assert 0 < rms(file.run(*x.values()) - simulated) < 0.04 * rms(simulated)


def test_weights_are_our_codes_and_scales_and_ranges_our_thresholds(export_of):
    found = export_of(mlp)
    layer = found.model.layers[0]
    file = File.opened(found.path)
    _, inputs, weights, _ = file.products()[0]
    codes, scale = quantize_weights(np.asarray(layer.kernel))
    np.testing.assert_array_equal(file.interpreter.get_tensor(weights["index"]), codes.T)
    np.testing.assert_allclose(weights["quantization_parameters"]["scales"], 1 / scale, rtol=1e-6)
    params = layer.input_observer.params()
    # LiteRT's int8 is our uint8, 128 lower.
    assert params.dtype == "uint8" or params.zero_point == 0
    offset = 128 if params.dtype == "uint8" else 0
    assert inputs["quantization"] == (
        pytest.approx(params.inv_scale, rel=1e-6),
        params.zero_point - offset,
    )


def test_a_product_that_one_range_reads_has_that_range(export_of):
    found = export_of(mlp)
    products = File.opened(found.path).products()
    # The first hands its codes to the second; between the second and the third is a GELU.
    assert products[0][3]["index"] == products[1][1]["index"]
    reader = found.model.layers[1].input_observer.params()
    assert products[0][3]["quantization"][0] == pytest.approx(reader.inv_scale, rel=1e-6)
    assert products[1][3]["index"] != products[2][1]["index"]


def test_rows_of_an_embedding_are_int8_and_the_simulation_but_for_a_last_bit(tmp_path):
    ids = keras.Input((6,), dtype="int32")
    # The product reads another table: LiteRT may round a tensor by its range for all readers.
    model = keras.Model(ids, [Int8Gather(20, 16)(ids), QuantDense(3)(Int8Gather(20, 16)(ids))])
    file = File.opened(exported(calibrated(model, IDS), IDS, tmp_path))
    tables = [t for t in file.tensors.values() if list(t["shape"]) == [20, 16]]
    assert {t["dtype"] for t in tables} == {np.int8}
    file.run(IDS)
    outputs = [
        file.interpreter.get_tensor(o["index"]) for o in file.interpreter.get_output_details()
    ]
    rows = next(o for o in outputs if o.shape == (8, 6, 16))
    simulate(model)
    np.testing.assert_allclose(rows, model(IDS)[0], rtol=3e-7)


def test_plain_layers_run_beside(tmp_path):
    x = keras.Input((16,))
    h = keras.layers.Dense(16, activation="relu", name="plain")(QuantDense(16)(x))
    model = calibrated(keras.Model(x, keras.layers.Dense(128)(QuantDense(16)(h))), ROWS)
    file = File.opened(exported(model, ROWS, tmp_path))
    simulate(model)
    simulated = np.asarray(model(ROWS))
    assert rms(file.run(ROWS) - simulated) < 0.04 * rms(simulated)
    # The plain one between two ranges is INT8, too; that without a range for its output is not.
    assert [w["dtype"] for _, _, w, _ in file.products()] == [np.int8] * 3 + [np.float32]


def test_converted_models_are_refused_by_the_name_of_their_operation(tmp_path):
    converted = convert(calibrated(mlp(), ROWS))
    with pytest.raises(ValueError, match="no calibrated ranges"):
        exported(converted, ROWS, tmp_path)
    with pytest.raises(Exception, match="KerasInt8nmt"):
        converted.export(tmp_path / "model.tflite", format="litert", verbose=False)


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_an_export_leaves_a_model_as_it_was(build, export_of):
    found = export_of(build)
    np.testing.assert_equal(found.after, found.before)
