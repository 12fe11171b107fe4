"""Every way to choose thresholds gives a model that translates, the same on both paths."""

from __future__ import annotations

import pytest
from helpers.builtin_model import SHORT, load_shallow
from helpers.models import calibrate_on_sentences

from keras_int8nmt import MarianTokenizer, Translator, convert, native
from keras_int8nmt.calibration import MODES, settle
from keras_int8nmt.storage import builtin as builtin_model

pytestmark = pytest.mark.skipif(
    native.functions() is None, reason=f"no native library: {native.reason()}"
)


@pytest.fixture(scope="module")
def tokenizer():
    return MarianTokenizer(builtin_model.FOLDER)


def observed(model, tokenizer):
    """A model that has seen 32 pairs."""
    pairs, _ = builtin_model.read_pairs()
    calibrate_on_sentences(model, tokenizer, *zip(*pairs[:32], strict=True))
    return model


def sentences(count):
    _, unseen = builtin_model.read_pairs()
    return [source for source, _ in unseen[:count]]


@pytest.mark.slow
def test_every_mode_translates_as_the_float_model_does_or_nearly(tokenizer):
    model = observed(builtin_model.load_builtin(), tokenizer)
    texts = sentences(60)
    plain = builtin_model.load_builtin(quant=False)
    expected = Translator(plain, tokenizer, beam_size=2, path="fast")(texts)
    for mode in [*MODES, "percentile:99.9"]:
        settle(model, mode)
        found = Translator(convert(model), tokenizer, beam_size=2, path="fast")(texts)
        same = sum(a == b for a, b in zip(found, expected, strict=True))
        assert same > 30, mode


def test_int8_after_relu_gets_the_same_bits_on_both_paths(tokenizer):
    model = observed(load_shallow(), tokenizer)
    thresholds = settle(model, unsigned=False)
    hidden = {path: t for path, t in thresholds.items() if "/ffn_out/" in path}
    assert len(hidden) == 2
    assert all(low == -high < 0 for low, high in hidden.values())
    int8 = convert(model)
    blocks = [*int8.encoder_blocks, *int8.decoder_blocks]
    assert {block.ffn_out.input_params.dtype for block in blocks} == {"int8"}
    fast, layers = (
        Translator(int8, tokenizer, path=path, num_hypotheses=4, **SHORT).translate(sentences(40))
        for path in ("fast", "layers")
    )
    for one, other in zip(fast, layers, strict=True):
        assert [(h.tokens, h.score) for h in one.hypotheses] == [
            (h.tokens, h.score) for h in other.hypotheses
        ]
    settle(model)
    assert convert(model).decoder_blocks[0].ffn_out.input_params.dtype == "uint8"
