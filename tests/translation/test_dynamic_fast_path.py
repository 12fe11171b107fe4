"""Dynamic scales in the native decoder: the layer path's answers, in any company, saved or not."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from helpers.builtin_model import both, sentences, tokenizer
from helpers.letters import TIE
from helpers.models import random_ids, small_model

from keras_int8nmt import (
    Translator,
    convert,
    export_saved_model,
    load_folder,
    load_saved_model,
    native,
    save_folder,
)
from keras_int8nmt.cli import main
from keras_int8nmt.runtime.native_decoder import NativeDecoder
from keras_int8nmt.runtime.search_options import SearchOptions
from keras_int8nmt.storage import (
    builtin as builtin_model,
)

pytestmark = pytest.mark.skipif(
    native.functions() is None, reason=f"no native library: {native.reason()}"
)
_LINEAR, _DYNAMIC = 9001, 2


@functools.cache
def model_of(policy=None):
    return convert(builtin_model.load_builtin(), activations="dynamic", policy=policy)


@pytest.mark.parametrize("policy", [None, "paper"])
def test_both_paths_give_the_same_tokens_except_at_ties(policy, capsys):
    fast, layers = both(model_of(policy), sentences()[:100], beam_size=4)
    # Float attention is rounded otherwise on the layer path, and every product rounds what follows
    # to codes: a difference of the last bit becomes one of a whole step here and there.
    differ = sum(a[0][0] != b[0][0] for a, b in zip(fast, layers, strict=True))
    differences = [abs(a[0][1] - b[0][1]) for a, b in zip(fast, layers, strict=True)]
    near = sum(difference < TIE for difference in differences)
    with capsys.disabled():
        print(f" [{policy}: {differ} differ, {near} near, most {max(differences):.4f}]", end="")
    assert differ <= 3
    assert near >= 70
    assert max(differences) < 0.05


def test_streams_threads_and_batches_change_no_bit():
    def run(**settings):
        with Translator(model_of(), tokenizer(), path="fast", **settings) as translator:
            return translator.translate(sentences()[:80])

    alone = run(batch_size=1, streams=1)
    for settings in (
        {"batch_size": 7, "streams": 2},
        {"batch_size": 64, "streams": 1, "threads_per_stream": 2},
    ):
        assert run(**settings) == alone


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "gelu", "norm": "pre", "tie_embeddings": False},
        {"activation": "swish", "model_dim": 24, "num_heads": 3, "ffn_dim": 20},
        {"target_vocabulary_size": 37, "num_decoder_layers": 2, "output_bias": False},
    ],
    ids=str,
)
def test_other_configurations_take_the_fast_path(settings):
    model = convert(small_model(**settings), activations="dynamic")
    ids = random_ids(model)
    fast, layers = (
        Translator(model, None, beam_size=3, path=path).translate_ids(ids)
        for path in ("fast", "layers")
    )
    one, other = ([r.hypotheses[0].score for r in results] for results in (fast, layers))
    differences = np.abs(np.subtract(one, other))
    assert np.mean(differences < TIE) >= 0.85
    assert differences.max() < 0.05


def test_the_command_line_converts_without_calibration(tmp_path, capfd):
    folder = tmp_path / "dynamic"
    save_folder(builtin_model.load_builtin(), tmp_path / "float", tokenizer())
    words = ["convert", tmp_path / "float", "--activations", "dynamic", "-o", folder]
    assert main([str(word) for word in words]) == 0
    assert "MatMuls in INT8" in capfd.readouterr().out
    model, _, card = load_folder(folder)
    assert (card["state"], card["precision"]) == ("converted", "mixed")
    assert "thresholds_mode" not in card
    texts = sentences()[:12]
    found = [Translator(m, tokenizer(), path="fast").translate(texts) for m in (model, model_of())]
    assert found[0] == found[1]


def test_a_saved_model_of_tensorflow_gives_the_same_bits(tmp_path):
    export_saved_model(model_of(), tmp_path / "served", beam_size=3)
    ids = [tokenizer().encode(text) for text in sentences()[:8]]
    width, pad = max(map(len, ids)), model_of().pad_id
    padded = np.array([[*each, *[pad] * (width - len(each))] for each in ids], np.int32)
    loaded = load_saved_model(tmp_path / "served")
    served = loaded.translate(padded)
    with Translator(model_of(), None, path="fast", beam_size=3) as translator:
        expected = translator.translate_ids(ids)
    for i, result in enumerate(expected):
        best = result.hypotheses[0]
        assert served["tokens"][i, 0, : len(best.tokens)].numpy().tolist() == list(best.tokens)
        assert served["scores"][i, 0].numpy() == np.float32(best.score)


# ---- descriptions ----


def test_a_static_model_is_described_as_before_and_a_dynamic_one_by_one_number():
    model = small_model()
    precisions = {
        kind: [description.ints[i + 1] for i, n in enumerate(description.ints) if n == _LINEAR]
        for kind, description in (
            ("float", model.spec()),
            ("dynamic", convert(model, activations="dynamic").spec()),
        )
    }
    assert set(precisions["float"]) == {0}
    assert set(precisions["dynamic"]) == {_DYNAMIC}


def refused(description, message):
    options = SearchOptions(beam_size=2, max_length=6)
    with pytest.raises(RuntimeError, match=message):
        NativeDecoder(
            description,
            options,
            streams=1,
            threads_per_stream=1,
            batch_size=2,
            max_source_length=6,
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, i: d.ints.__setitem__(i, 3), "precision of a product: it is 3; expected 0 to 2"),
        (lambda d, i: d.ints.__setitem__(i, 1), "an INT8 product with float input"),
        (lambda d, i: d.ints.__setitem__(i, 0), "packed float weights of another size"),
        (lambda d, i: d.ints.__setitem__(i + 4, 1), "a product of dynamic scales with integer inp"),
        (lambda d, i: d.ints.__delitem__(slice(i, None)), "the whole numbers have ended"),
        (lambda d, i: d.tensors.__delitem__(slice(-2, None)), "the tensors have ended"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(change, message):
    description = convert(small_model(), activations="dynamic").spec()
    last = len(description.ints) - 1 - description.ints[::-1].index(_LINEAR)
    change(description, last + 1)
    refused(description, message)


def test_codes_for_a_dynamic_product_are_refused():
    description = convert(small_model(), activations="dynamic").spec()
    # How the entry of the encoder is written, right before the first layer's mark.
    entry = description.ints.index(9004) - 2
    assert description.ints[entry : entry + 2] == [0, 0]
    description.ints[entry] = 1
    refused(description, "a product of other codes than are written for it")
