"""`QuantReversibleEmbedding` against `keras.layers.ReversibleEmbedding`, and its one table."""

from __future__ import annotations

import zipfile

import keras
import numpy as np
import pytest
from helpers.layer_contract import assert_same_signature, check_layer, copy_weights

from keras_int8nmt import convert, native, prepare_training
from keras_int8nmt.layers.model_state import set_state, settle
from keras_int8nmt.quantization import dequantize, quantize, quantize_weights

if not hasattr(keras.layers, "ReversibleEmbedding"):
    pytest.skip("Keras has no ReversibleEmbedding before 3.13", allow_module_level=True)

from keras_int8nmt.layers.inference.frozen_reversible_embedding import FrozenReversibleEmbedding
from keras_int8nmt.layers.quant_reversible_embedding import QuantReversibleEmbedding

RNG = np.random.default_rng(0)
IDS = np.array([[1, 5, 0], [9, 9, 2]], np.int32)
X = RNG.normal(size=(2, 3, 6)).astype(np.float32)
TABLE = RNG.normal(size=(10, 6)).astype(np.float32)


def pair(**options):
    keras.utils.set_random_seed(0)
    ours, parent = (
        layer(10, 6, **options)
        for layer in (QuantReversibleEmbedding, keras.layers.ReversibleEmbedding)
    )
    ours(IDS), parent(IDS)
    copy_weights(parent, ours)
    return ours, parent


def reversing(layer):
    """A model of rows and, by the same layer, logits."""
    ids = keras.Input((3,), dtype="int32")
    rows = layer(ids)
    return keras.Model(ids, [rows, layer(keras.layers.ReLU()(rows), reverse=True)])


def calibrated(model):
    set_state(model, "observing")
    model(IDS)
    set_state(model, "float")
    settle(model, "independent")
    return model


def tied(**options):
    layer = QuantReversibleEmbedding(10, 6, **options)
    model = reversing(layer)
    layer.embeddings.assign(TABLE)
    return layer, calibrated(model)


def test_passes_the_layer_contract(tmp_path):
    init = {"input_dim": 10, "output_dim": 6, "mask_zero": True}
    cls = QuantReversibleEmbedding
    check_layer(cls, init, lambda layer: layer(IDS), [IDS], (2, 3, 6), tmp_path)


def test_has_the_signature_of_reversible_embedding():
    parent = keras.layers.ReversibleEmbedding
    assert_same_signature(QuantReversibleEmbedding.__init__, parent.__init__)
    assert_same_signature(QuantReversibleEmbedding.call, parent.call)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mask_zero": True},
        {"logit_soft_cap": 2.0},
        {"tie_weights": False},
        {"dtype": "mixed_bfloat16"},
        {"dtype": "mixed_bfloat16", "reverse_dtype": "float32"},
        {"dtype": "float64"},
    ],
    ids=str,
)
def test_gives_what_the_parent_gives_until_told_otherwise(options):
    ours, parent = pair(**options)
    rows = [ours(IDS), parent(IDS)]
    logits = [layer(X, reverse=True) for layer in (ours, parent)]
    for own, theirs in (rows, logits):
        assert own.dtype == theirs.dtype
        own, theirs = (keras.ops.convert_to_numpy(x) for x in (own, theirs))
        np.testing.assert_array_equal(own, theirs)
    masks = [getattr(x, "_keras_mask", None) for x in rows]
    assert (masks[0] is None) == (masks[1] is None) == (not options.get("mask_zero"))
    assert bool(ours.unsupported_reasons()) == ("tie_weights" in options)


def test_takes_initial_weights():
    np.testing.assert_array_equal(QuantReversibleEmbedding(10, 6, weights=TABLE)(IDS), TABLE[IDS])


def test_rows_and_product_are_simulated_and_computed_of_one_int8_table(tmp_path):
    layer, model = tied(logit_soft_cap=4.0)
    codes, scale = quantize_weights(TABLE.T, True, native.weight_bits())
    table = (codes.T * (np.float32(1) / scale)[:, None]).astype(np.float32)
    params = layer.reverse_input.params()
    x = dequantize(quantize(np.maximum(table[IDS], 0), params), params)
    expected = np.tanh(x @ table.T / 4) * 4

    int8 = convert(model)
    (row,) = int8.conversion_report.rows
    assert (row.name, row.precision) == (f"{layer.path}/reverse", "int8")
    (frozen,) = {id(x): x for x in int8.layers if isinstance(x, FrozenReversibleEmbedding)}.values()
    rows, logits = int8(IDS)
    np.testing.assert_array_equal(rows, table[IDS])
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    set_state(model, "simulating")
    for simulated, exact in zip(model(IDS), (table[IDS], expected), strict=True):
        np.testing.assert_allclose(simulated, exact, atol=1e-5)

    int8.save(tmp_path / "int8.keras")
    again = keras.models.load_model(tmp_path / "int8.keras")
    for new, old in zip(again(IDS), (rows, logits), strict=True):
        np.testing.assert_array_equal(new, old)
    store: dict = {}
    frozen.save_own_variables(store)
    assert {name: x.dtype for name, x in store.items()} == {
        "table": np.int8,
        "scales": np.float32,
        "bias": np.float32,
    }
    assert "model.weights.h5" in zipfile.ZipFile(tmp_path / "int8.keras").namelist()


@pytest.mark.parametrize(
    "options",
    [
        {"activations": "dynamic"},
        {"policy": "float32"},
        {"bias_correction": True},
        {"weights": "per_tensor"},
        {"weight_bits": 7},
    ],
    ids=str,
)
def test_every_way_to_convert_stays_near_the_float_layer(options, tmp_path):
    _, model = tied()
    converted = convert(model, **options)
    for result, exact in zip(converted(IDS), model(IDS), strict=True):
        tolerance = 1e-6 if "policy" in options else 0.04
        np.testing.assert_allclose(result, exact, atol=tolerance * np.abs(exact).max())
    converted.save(tmp_path / "converted.keras")
    again = keras.models.load_model(tmp_path / "converted.keras")
    for new, old in zip(again(IDS), converted(IDS), strict=True):
        np.testing.assert_array_equal(new, old)


def test_rows_alone_are_int8_without_a_product():
    layer = QuantReversibleEmbedding(10, 6, mask_zero=True)
    ids = keras.Input((3,), dtype="int32")
    from keras_int8nmt import QuantDense

    model = calibrated(keras.Model(ids, QuantDense(2)(layer(ids))))
    assert layer.matmuls() == []
    int8 = convert(model)
    assert [row.name for row in int8.conversion_report.rows] == [model.layers[-1].path]
    frozen = int8.layers[1]
    assert frozen.precisions == set()
    assert frozen(IDS)._keras_mask.numpy().tolist() == (IDS != 0).tolist()
    with pytest.raises(ValueError, match="converted without its reverse product"):
        frozen(X, reverse=True)


def test_stored_weights_of_another_kind_are_refused():
    layer, model = tied()
    (frozen,) = [x for x in convert(model).layers if isinstance(x, FrozenReversibleEmbedding)]
    store: dict = {}
    frozen.save_own_variables(store)
    for name, value in (("table", store["table"][:3]), ("scales", store["scales"][:3])):
        again = FrozenReversibleEmbedding.from_config(frozen.get_config())
        with pytest.raises(ValueError, match=f"expects {name!r} of"):
            again.load_own_variables({**store, name: value})
    assert layer.count_params() == 60


def test_thresholds_train_and_are_saved(tmp_path):
    layer, model = tied()
    prepare_training(model, threshold_rate=10.0)
    model.compile("adam", "mse", run_eagerly=True)
    before = layer.reverse_input.thresholds()
    model.fit(IDS, [np.zeros((2, 3, 6)), np.zeros((2, 3, 10))], epochs=2, verbose=0)
    learned = layer.reverse_input.thresholds()
    assert learned != before
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    (loaded,) = [x for x in again.layers if isinstance(x, QuantReversibleEmbedding)]
    assert loaded.reverse_input.thresholds() == learned
