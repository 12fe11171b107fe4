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
from keras_int8nmt.runtime.model_spec import ModelSpec
from keras_int8nmt.runtime.native_decoder import NativeDecoder
from keras_int8nmt.runtime.search_options import SearchOptions
from keras_int8nmt.storage import (
    builtin as builtin_model,
)

pytestmark = pytest.mark.skipif(
    native.functions() is None, reason=f"no native library: {native.reason()}"
)


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


# ---- the spec ----


def test_the_products_of_a_dynamic_model_say_so():
    model = small_model()
    for kind, spec in (
        ("float32", model.spec()),
        ("int8_dynamic", convert(model, activations="dynamic").spec()),
    ):
        found = [value for name, value in spec.settings.items() if name.endswith(".precision")]
        assert set(found) == {kind}


def refused(spec, message):
    with pytest.raises(RuntimeError, match=message):
        NativeDecoder(
            spec,
            SearchOptions(beam_size=2, max_length=6),
            streams=1,
            threads_per_stream=1,
            batch_size=2,
            max_source_length=6,
        )


LAST = "output_projection"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{LAST}.precision": "int4"}, f'{LAST}.precision: it is "int4"; expected one of float32'),
        ({f"{LAST}.precision": "int8"}, f"{LAST}.reads.type: it is missing"),
        ({f"{LAST}.precision": "float32"}, f"{LAST}.weights: they are packed float32 weights of"),
        ({f"{LAST}.precision": 2}, f"{LAST}.precision: it is a whole number; expected a word"),
        ({f"{LAST}.rows": 17}, f"{LAST}.weights: they are packed of another shape"),
        ({f"{LAST}.columns": None}, f"{LAST}.columns: it is missing"),
        ({f"{LAST}.bias": None}, f"{LAST}.bias: it is missing"),
        ({f"{LAST}.bias": np.zeros(3, np.float32)}, rf"{LAST}.bias: it has shape \[3\]; expected"),
        ({f"{LAST}.scales": np.zeros(3, np.int8)}, f"{LAST}.scales: it is int8; expected float32"),
        (
            {f"{LAST}.reads.type": "int8"},
            f"{LAST}.reads.type: no part of this model has",
        ),
        ({"more": np.zeros(3, np.int8)}, "more: no part of this model has such a tensor"),
        ({"format_version": 3}, "format_version: it is 3; expected 2 to 2"),
        (
            {"source_embedding.multiplier": float("nan")},
            "source_embedding.multiplier: it is not",
        ),
    ],
)
def test_a_spec_that_does_not_fit_is_refused_by_the_name_of_the_entry(changes, message):
    refused(changed(convert(small_model(), activations="dynamic").spec(), changes), message)


def changed(spec, changes):
    """The spec with other entries; None takes one away."""
    entries = {**spec.settings, **spec.tensors, **changes}
    entries = {name: value for name, value in entries.items() if value is not None}
    tensors = {name: x for name, x in entries.items() if isinstance(x, np.ndarray)}
    settings = {name: x for name, x in entries.items() if name not in tensors}
    return ModelSpec(settings, tensors)


def test_codes_for_a_dynamic_product_are_refused():
    spec = convert(small_model(), activations="dynamic").spec()
    at = "encoder.entry.writes"
    codes = {f"{at}.type": "int8", f"{at}.zero_point": 0, f"{at}.scale": 1.0}
    refused(changed(spec, codes), "encoder.0.self.query_key_value: it reads other codes than are")
