"""Models converted with whole-number softmax and LayerNorm: both paths, saving, refusals."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers.builtin_model import SHORT, calibrated_shallow, tokenizer
from helpers.models import calibrate_eagerly, make_data, make_transformer

from keras_int8nmt import (
    QuantDense,
    Translator,
    convert,
    native,
)
from keras_int8nmt.conversion import ConversionError
from keras_int8nmt.conversion.options import ConversionOptions
from keras_int8nmt.storage import (
    builtin as builtin_model,
)

BOTH = {"softmax": "integer", "layer_norm": "integer"}


def calibrated():
    """A trained model."""
    return calibrated_shallow("symmetric")


def bits(results):
    return [[(h.tokens, h.score) for h in r.hypotheses] for r in results]


needs_native = pytest.mark.skipif(
    native.functions() is None, reason=f"no native library: {native.reason()}"
)


@needs_native
def test_both_paths_give_the_same_bits_with_a_trained_model():
    model = convert(calibrated(), **BOTH)
    sentences = [source for source, _ in builtin_model.read_pairs()[1]][:40]
    found = []
    search = {**SHORT, "beam_size": 3, "num_hypotheses": 3}
    for path in ("fast", "layers"):
        with Translator(model, tokenizer(), path=path, **search) as translator:
            assert translator.path == path
            found.append(bits(translator.translate(sentences)))
    assert found[0] == found[1]
    with Translator(convert(calibrated()), tokenizer(), **search) as plain:
        assert bits(plain.translate(sentences)) != found[0]


@needs_native
@pytest.mark.parametrize(
    "options",
    [
        {"softmax": "integer"},
        {"layer_norm": "integer"},
        {**BOTH, "policy": lambda name: "float32" if name.endswith("QK") else "int8"},
    ],
    ids=["softmax", "layer_norm", "both, QK in float"],
)
def test_a_pre_norm_model_gets_the_same_bits_on_both_paths(options):
    model = convert(make_transformer(norm="pre", activation="gelu"), **options)
    assert model.encoder_entry.arithmetic == options.get("layer_norm", "float")
    ids = [[*row[row > 0].tolist(), 1] for row in make_data()["source"]]
    fast, layers = (
        bits(Translator(model, None, beam_size=2, max_length=8, path=path).translate_ids(ids))
        for path in ("fast", "layers")
    )
    assert fast == layers


def test_every_attention_and_norm_has_the_option():
    model = convert(calibrated(), **BOTH)
    for block in model.encoder_blocks:
        assert block.attention.softmax == "integer"
        assert block.attention_norm.arithmetic == block.ffn_norm.arithmetic == "integer"
    for block in model.decoder_blocks:
        assert block.self_attention.softmax == block.cross_attention.softmax == "integer"
        for norm in (block.self_attention_norm, block.cross_attention_norm, block.ffn_norm):
            assert norm.arithmetic == "integer"
    for block in convert(calibrated()).decoder_blocks:
        assert block.self_attention.softmax == "float"
        assert block.ffn_norm.arithmetic == "float"


def test_a_saved_model_keeps_its_options_and_its_numbers(tmp_path):
    model = convert(make_transformer(), **BOTH)
    model.save(tmp_path / "int8.keras")
    loaded = keras.saving.load_model(tmp_path / "int8.keras")
    assert loaded.decoder_blocks[0].cross_attention.softmax == "integer"
    assert loaded.encoder_blocks[0].ffn_norm.arithmetic == "integer"
    data = make_data()
    np.testing.assert_array_equal(loaded(data), model(data))


def test_a_configuration_without_the_options_is_the_float_one():
    for layer in (
        convert(make_transformer()).decoder_blocks[0].self_attention,
        convert(make_transformer()).decoder_blocks[0].ffn_norm,
    ):
        config = {k: v for k, v in layer.get_config().items() if k not in ("softmax", "arithmetic")}
        copy = type(layer).from_config(config)
        assert copy.get_config() == layer.get_config()


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="`softmax` must be one of float, integer; received 'x'"):
        convert(calibrated(), softmax="x")
    with pytest.raises(ValueError, match="`layer_norm` must be one of float, integer"):
        ConversionOptions(layer_norm="int8")


def test_an_integer_norm_is_refused_where_norms_are_not_converted():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.LayerNormalization()(QuantDense(4)(inputs)))
    x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    calibrate_eagerly(model, x, mode="symmetric")
    with pytest.raises(ConversionError, match="for a Transformer only"):
        convert(model, layer_norm="integer")
    assert convert(model, softmax="integer").predict(x, verbose=0).shape == (64, 4)
