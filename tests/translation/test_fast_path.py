"""The fast path (the native decoder) against the layer path: token for token, score for score."""

from __future__ import annotations

import functools
import threading

import keras
import numpy as np
import pytest
from helpers.builtin_model import (
    SHORT,
    both,
    calibrated,
    calibrated_shallow,
    sentences,
    tokenizer,
)
from helpers.letters import TIE
from helpers.models import calibrate_eagerly, random_ids, small_model

from keras_int8nmt import (
    Translator,
    convert,
    native,
    simulate,
)
from keras_int8nmt.storage import (
    builtin as builtin_model,
)
from keras_int8nmt.translation.translator import Translation

pytestmark = pytest.mark.skipif(
    native.functions() is None, reason=f"no native library: {native.reason()}"
)


@functools.cache
def converted(policy=None):
    return convert(calibrated(), policy=policy)


@functools.cache
def shallow(policy=None):
    return convert(calibrated_shallow(), policy=policy)


def count_ties(fast, layers):
    """Sentences whose tokens differ; each must be a tie in score."""
    ties = 0
    for one, other in zip(fast, layers, strict=True):
        assert one[0][1] == pytest.approx(other[0][1], abs=TIE)
        ties += one[0][0] != other[0][0]
    return ties


def test_an_int8_model_gets_the_same_bits_on_both_paths():
    fast, layers = both(converted(), sentences()[:150], beam_size=4, num_hypotheses=4)
    assert fast == layers


@pytest.mark.parametrize(
    "settings",
    [
        {"beam_size": 1},
        {"beam_size": 5, "length_penalty": 0.6, "num_hypotheses": 2},
        {"beam_size": 3, "min_length": 7, "max_length": 9},
        {"beam_size": 2, "max_length": 1},
    ],
    ids=str,
)
def test_other_searches_give_the_same_bits_on_both_paths(settings):
    fast, layers = both(shallow(), sentences()[:150], **{**SHORT, **settings})
    assert fast == layers


@pytest.mark.parametrize("beam_size", [1, 3])
def test_without_scores_the_tokens_are_the_same(beam_size):
    settings = {**SHORT, "beam_size": beam_size}
    with Translator(shallow(), tokenizer(), path="fast", **settings) as translator:
        scored = translator.translate(sentences()[:100])
    for results in both(shallow(), sentences()[:100], **settings, return_scores=False):
        assert [r[0][0] for r in results] == [r.hypotheses[0].tokens for r in scored]
        assert all(np.isnan(r[0][1]) for r in results)


@pytest.mark.slow
def test_an_int8_model_gets_the_same_bits_on_2000_real_sentences(shared_data):
    text = (shared_data / "tatoeba-ende" / "test.en").read_text(encoding="utf-8").split("\n")
    for beam_size in (1, 4):
        fast, layers = both(converted(), text[:2000], beam_size=beam_size)
        assert fast == layers


@pytest.mark.parametrize("kind", ["float", "quant", "paper", "float32 everywhere"])
def test_float_products_give_the_same_tokens_on_both_paths_except_at_ties(kind, capsys):
    if kind == "float":
        model = builtin_model.load_builtin(quant=False)
    elif kind == "quant":
        model = calibrated_shallow()
    else:
        model = converted("paper") if kind == "paper" else shallow("float32")
    settings = {} if kind in ("float", "paper") else SHORT
    fast, layers = both(model, sentences()[:100], beam_size=4, **settings)
    if kind == "paper":
        # What rounds to codes turns a difference of the last bit into one of a whole step.
        differ = sum(a[0][0] != b[0][0] for a, b in zip(fast, layers, strict=True))
        assert differ <= 3
        near = [abs(a[0][1] - b[0][1]) < TIE for a, b in zip(fast, layers, strict=True)]
        assert sum(near) >= 85
    else:
        differ = count_ties(fast, layers)
    with capsys.disabled():
        print(f" [{kind}: {differ} of 100 differ]", end="")


def test_streams_threads_and_batches_change_no_bit():
    texts = sentences()[:120]

    def run(**settings):
        with Translator(converted(), tokenizer(), path="fast", **settings) as translator:
            return translator.translate(texts)

    alone = run(batch_size=1, streams=1)
    for settings in (
        {"batch_size": 7, "streams": 2},
        {"batch_size": 32, "streams": 3},
        {"batch_size": 64, "streams": 1, "threads_per_stream": 2},
        {"batch_size": 5, "streams": 2, "threads_per_stream": 3},
    ):
        assert run(**settings) == alone


# ---- every configuration of build_transformer ----

SETTINGS = [
    {"activation": "relu", "norm": "post", "position_encoding": "marian", "first_position": 3},
    {"activation": "gelu", "norm": "pre", "tie_embeddings": False},
    {"activation": "swish", "norm": "post", "position_encoding": "interleaved"},
    {"activation": "relu", "norm": "pre", "output_bias": False, "scale_embedding": False},
    {"model_dim": 24, "num_heads": 3, "decoder_num_heads": 2, "ffn_dim": 20, "decoder_ffn_dim": 36},
    {"target_vocabulary_size": 37, "num_encoder_layers": 2, "num_decoder_layers": 2},
    {"start_id": 5, "eos_id": 3, "pad_id": 2, "max_length": 40},
]


# Two that differ in most; all of them together take minutes.
ALL_SETTINGS = [*SETTINGS[:2], *(pytest.param(s, marks=pytest.mark.slow) for s in SETTINGS[2:])]


@pytest.mark.parametrize("settings", ALL_SETTINGS, ids=str)
def test_every_configuration_takes_the_fast_path(settings):
    model = small_model(**settings)
    ids = random_ids(model)
    source = np.array([s[:1] * 6 for s in ids], np.int32)
    target = np.array([[model.start_id, *s[:1] * 5] for s in ids], np.int32)
    sample = {"source": source, "target": target % model.target_vocabulary_size}
    calibrate_eagerly(model, sample, mode="conjugate")
    found = [
        Translator(m, None, beam_size=3, path=path).translate_ids(ids)
        for m in (convert(model), model)
        for path in ("fast", "layers")
    ]
    assert found[0] == found[1]
    plain = [[[(h.tokens, h.score) for h in r.hypotheses] for r in f] for f in found[2:]]
    assert count_ties(*plain) <= 1


def test_a_vocabulary_smaller_than_the_beam():
    model = small_model(source_vocabulary_size=5)
    ids = [[3, 4, 1], [1], [4, 4, 4, 3, 1]]
    fast, layers = (
        Translator(model, None, beam_size=6, num_hypotheses=6, max_length=4, path=path)
        for path in ("fast", "layers")
    )
    for one, other in zip(fast.translate_ids(ids), layers.translate_ids(ids), strict=True):
        assert [h.tokens for h in one.hypotheses] == [h.tokens for h in other.hypotheses]


# ---- weights that change ----


def test_weights_assigned_later_are_seen():
    model = small_model()
    ids = random_ids(model)
    translator = Translator(model, None, path="fast")
    before = translator.translate_ids(ids)
    assert translator.translate_ids(ids) == before
    for change in (lambda w: w.assign(w * 1.5), lambda w: w.value.assign_add(w.value)):
        change(model.decoder_blocks[0].ffn_in.kernel)
        changed = translator.translate_ids(ids)
        assert changed != before
        assert changed == Translator(model, None, path="fast").translate_ids(ids)
        before = changed


def test_a_model_that_trains_on_is_translated_as_it_is_then():
    model = small_model()
    ids = random_ids(model)
    translator = Translator(model, None)
    before = translator.translate_ids(ids)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    sample = {"source": np.full((4, 3), 7), "target": np.full((4, 3), 8)}
    model.fit(sample, np.full((4, 3), 9), verbose=0)
    assert translator.path == "fast"
    after = translator.translate_ids(ids)
    assert after != before
    assert after == Translator(model, None, path="fast").translate_ids(ids)


# ---- which path ----


def test_what_the_decoder_does_not_run_takes_the_layer_path_and_says_why():
    model = small_model()
    translator = Translator(model, None)
    assert (translator.path, translator.path_reason) == ("fast", None)
    sample = {"source": np.full((4, 3), 7), "target": np.full((4, 3), 8)}
    calibrate_eagerly(model, sample)
    simulate(model)
    assert translator.path == "layers"
    assert "simulating" in translator.path_reason
    with pytest.raises(RuntimeError, match="simulating"):
        Translator(model, None, path="fast").translate_ids([[3, 1]])
    simulate(model, False)
    assert translator.path == "fast"
    asked = Translator(model, None, path="layers")
    assert (asked.path, asked.path_reason) == ("layers", "it was asked for")


class Foreign:
    """A model of somebody else's class, which has the layers of a Transformer."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        return getattr(self.model, name)

    def native_refusal(self):
        return "Foreign has no spec"


def test_a_foreign_model_answers_for_itself():
    model = small_model()
    translator = Translator(Foreign(model), None)
    assert (translator.path, translator.path_reason) == ("layers", "Foreign has no spec")
    ids = random_ids(model, 5)
    assert [r.hypotheses[0].tokens for r in translator.translate_ids(ids)] == [
        r.hypotheses[0].tokens for r in Translator(model, None).translate_ids(ids)
    ]


def test_a_model_that_does_not_answer_is_refused_by_what_it_lacks():
    with pytest.raises(TypeError, match=r"Sequential has no max_length, pad_id, .* graph_engine"):
        Translator(keras.Sequential(), None)


def test_the_precision_policy_is_heeded():
    model = small_model(dtype="mixed_bfloat16")
    translator = Translator(model, None)
    assert translator.path == "layers"
    assert "bfloat16" in translator.path_reason


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"path": "quick"}, ValueError, "auto, fast, layers"),
        ({"threads_per_stream": 0}, ValueError, "threads_per_stream"),
        ({"threads_per_stream": "two"}, TypeError, "threads_per_stream"),
    ],
)
def test_wrong_settings_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        Translator(small_model(), None, **options)


# ---- many callers ----


def test_many_threads_share_one_translator():
    texts = sentences()[:160]
    translator = Translator(converted(), tokenizer(), batch_size=8, streams=2)
    expected = translator.translate(texts)
    found: dict[int, list[Translation]] = {}

    def work(i):
        found[i] = translator.translate(texts[i * 20 : (i + 1) * 20])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r for i in range(8) for r in found[i]] == expected


def test_progress_counts_every_sentence():
    done = []
    Translator(converted(), tokenizer()).translate(sentences()[:90], progress=done.append)
    assert sum(done) == 90


def test_an_error_of_a_caller_harms_nobody_else():
    texts = sentences()[:60]
    translator = Translator(converted(), tokenizer(), streams=1, batch_size=4)
    expected = translator.translate(texts)

    def fail(_):
        raise KeyboardInterrupt

    other = {}
    thread = threading.Thread(target=lambda: other.update(found=translator.translate(texts)))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        translator.translate(texts, progress=fail)
    thread.join()
    assert other["found"] == expected
    assert translator.translate(texts) == expected


@pytest.mark.parametrize("settings", [{}, {"beam_size": 1, "return_scores": False}], ids=str)
def test_a_model_that_gives_nan_is_an_error_and_no_crash(settings):
    model = small_model()
    translator = Translator(model, None, **settings)
    ids = random_ids(model, 6)
    before = translator.translate_ids(ids)
    kernel = model.decoder_blocks[0].ffn_out.kernel
    # One alone, and before a ReLU, which would make it 0.
    for broken in (kernel, model.encoder_blocks[0].ffn_in.kernel):
        whole = broken.numpy()
        changed = whole.copy()
        changed[1, 2] = np.nan
        broken.assign(changed)
        with pytest.raises(RuntimeError, match="NaN") as error:
            translator.translate_ids(ids)
        assert broken.path in str(error.value)
        broken.assign(whole)
    assert [t.hypotheses[0].tokens for t in translator.translate_ids(ids)] == [
        t.hypotheses[0].tokens for t in before
    ]


def test_closing_ends_the_threads_and_a_later_call_begins_new_ones():
    translator = Translator(converted(), tokenizer(), streams=2)
    expected = translator.translate(sentences()[:10])
    decoder = translator.native_engine.decoder()
    translator.close()
    assert not decoder.usable
    with pytest.raises(RuntimeError, match="closed"):
        decoder.begin([[5, 0]], [0])
    assert translator.translate(sentences()[:10]) == expected
    translator.close()
    translator.close()


def test_closing_while_others_translate_fails_them_cleanly():
    translator = Translator(converted(), tokenizer(), streams=1, batch_size=1)
    decoder = translator.native_engine.decoder()
    started, outcome = threading.Event(), []

    def work():
        try:
            translator.translate(sentences(), progress=lambda _: started.set())
            outcome.append("done")
        except RuntimeError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(60)
    decoder.close()
    thread.join(60)
    assert not thread.is_alive()
    assert outcome == ["done"] or "closed" in outcome[0]
