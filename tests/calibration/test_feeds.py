"""What the observers see: given targets, greedy translations, every hypothesis of a beam search."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers.models import calibrate_on_sentences

from keras_int8nmt import build_transformer, convert
from keras_int8nmt.calibration import Histogram, observers
from keras_int8nmt.calibration.from_sentences import calibrate
from keras_int8nmt.models.plain import plain_model

PAD, EOS, START = 0, 1, 2
VOCABULARY, DIM, LENGTH = 14, 16, 10
TEXTS = ["3 4 5 6", "7 8", "9 10 11 12 13 3 5", "4", "6 6 7"]


class NumberTokenizer:
    """A token is written as its number."""

    pad_id, eos_id = PAD, EOS

    def encode(self, text):
        return [*map(int, text.split()), EOS]

    def decode(self, ids):
        return " ".join(map(str, ids))


class BareNumberTokenizer(NumberTokenizer):
    """Of a model whose sources have no end token; letters have no token at all."""

    source_eos = False

    def encode(self, text):
        return [int(word) for word in text.split() if word.isdigit()]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = build_transformer(
        source_vocabulary_size=VOCABULARY,
        num_encoder_layers=1,
        num_decoder_layers=1,
        output_bias=True,
        model_dim=DIM,
        num_heads=2,
        ffn_dim=24,
        max_length=LENGTH,
        pad_id=PAD,
        eos_id=EOS,
        start_id=START,
    )
    rng = np.random.default_rng(2)
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(0, 0.3, weight.shape).astype(np.float32))
    # So that some sentences end early.
    (bias,) = [w for w in model.trainable_weights if tuple(w.shape) == (VOCABULARY,)]
    bias.assign(2.0 * np.eye(VOCABULARY, dtype=np.float32)[EOS])
    return model


def seen(model):
    """The histogram of each observer, by its path without the model's name."""
    return {path.partition("/")[2]: o.to_histogram() for path, o in observers(model)}


def assert_same_values(found, expected):
    """Equal but for values that rounding has moved to the next bin."""
    assert found.total == expected.total
    exponent = max(found.exponent, expected.exponent)
    difference = found.widen(exponent).counts - expected.widen(exponent).counts
    assert np.abs(difference).sum() <= 0.02 * expected.total
    assert np.abs(np.cumsum(difference)).max() <= 0.01 * expected.total
    assert found.minimum == pytest.approx(expected.minimum, rel=1e-3, abs=1e-3)
    assert found.maximum == pytest.approx(expected.maximum, rel=1e-3, abs=1e-3)


def plain_search(log_probs_of, beam_size):
    """The prefixes, start token included, that live in each step of a beam search."""
    live, ended, visited = [(0.0, (START,))], [], []
    for n in range(1, LENGTH + 1):
        visited += [prefix for _, prefix in live]
        candidates = []
        for beam, (score, prefix) in enumerate(live):
            for token, log_prob in enumerate(log_probs_of(prefix)):
                if token == EOS if n == LENGTH else token != PAD:
                    candidates.append((-(score + log_prob), token, beam))
        candidates = sorted(candidates)[: 2 * beam_size]
        ended += [-total / n for total, token, _ in candidates[:beam_size] if token == EOS]
        live = [(-total, (*live[b][1], token)) for total, token, b in candidates if token != EOS]
        live = live[:beam_size]
        if not live or (len(ended) >= beam_size and max(ended) >= live[0][0] / n):
            break
    return visited


def what_a_plain_search_visits(model, beam_size, watched):
    """Of each observer in `watched` the histogram of all live hypotheses, one model call each."""
    histograms = dict.fromkeys(watched, Histogram())
    rows = {}
    by_path = {path.partition("/")[2]: observer for path, observer in observers(model)}
    plain = plain_model(model)

    def tap(name):
        return lambda x: rows.__setitem__(name, np.asarray(x)[0, -1])

    for name in watched:
        by_path[name].tap = tap(name)
    count = 0
    for text in TEXTS:
        source = np.array([NumberTokenizer().encode(text)], np.int32)

        def log_probs_of(prefix, source=source):
            logits = np.asarray(plain((source, np.array([prefix], np.int32))))[0, -1]
            return logits - np.logaddexp.reduce(logits)

        for prefix in plain_search(log_probs_of, beam_size):
            model((source, np.array([prefix], np.int32)))
            histograms = {name: h.add(rows[name]) for name, h in histograms.items()}
            count += 1
    for name in watched:
        by_path[name].tap = None
    return histograms, count


def test_beam_shows_what_a_plain_search_visits(model):
    beam_size = 3
    watched = (
        "decoder_block_0/ffn_out/input_observer",
        "decoder_block_0/self_attention/query_input",
        "decoder_block_0/self_attention/key_observer",
        "decoder_block_0/self_attention/context_observer",
        "decoder_block_0/cross_attention/query_observer",
        "decoder_block_0/cross_attention/context_observer",
        "output_observer",
    )
    expected, count = what_a_plain_search_visits(model, beam_size, watched)
    # Batches of two: some sentences stop before others, and half of a batch goes on alone.
    calibrate(model, NumberTokenizer(), TEXTS, feed="beam", beam_size=beam_size, batch_size=2)
    found = seen(model)
    for name in watched:
        assert_same_values(found[name], expected[name])
    assert found["output_observer"].total == count * DIM
    # What is computed once a sentence is counted once a sentence.
    tokens = sum(len(NumberTokenizer().encode(text)) for text in TEXTS)
    for name in ("encoder_block_0/ffn_in/input_observer", "decoder_block_0/cross_attention/value"):
        name = next(key for key in found if key.startswith(name))
        assert found[name].total == tokens * DIM
    # The sentences do not all take the same number of steps, so there were places to leave out.
    assert 2 * len(TEXTS) < count < len(TEXTS) * beam_size * (LENGTH - 1)


def test_a_beam_of_one_shows_what_greedy_translations_show(model):
    calibrate(model, NumberTokenizer(), TEXTS, feed="greedy")
    greedy = seen(model)
    calibrate(model, NumberTokenizer(), TEXTS, feed="beam", beam_size=1)
    for name, histogram in seen(model).items():
        if greedy[name].total or histogram.total:
            assert_same_values(histogram, greedy[name])


def test_given_targets_are_shown(model):
    targets = [" ".join(text.split()[::-1]) for text in TEXTS]
    thresholds = calibrate(model, NumberTokenizer(), TEXTS, targets, mode="percentile:99.5")
    tokens = sum(len(NumberTokenizer().encode(text)) for text in targets)
    assert seen(model)["output_observer"].total == tokens * DIM
    assert all(low <= 0 <= high for low, high in thresholds.values())
    calibrate_on_sentences(model, NumberTokenizer(), TEXTS, targets, mode="percentile:99.5")
    without_a_graph = {path: observer.thresholds() for path, observer in observers(model)}
    # Sums of floats may differ in their last bits with and without a graph, and so a threshold by
    # less than a bin.
    for path, expected in thresholds.items():
        np.testing.assert_allclose(without_a_graph[path], expected, rtol=1e-3, err_msg=path)
    assert convert(model).conversion_report.precision == "int8"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feed": "sampling"}, "targets, greedy, beam; received 'sampling'"),
        ({"feed": "targets"}, "'targets', but targets are missing"),
        ({"feed": "beam", "targets": TEXTS}, "'beam', but targets are given"),
        ({"feed": "greedy", "targets": TEXTS}, "'greedy', but targets are given"),
        ({"feed": "beam", "beam_size": 0}, "at least 1; it is 0"),
        ({"mode": "max"}, "'max'"),
        ({"targets": ["3"]}, "received 5 sources and 1 targets"),
    ],
)
def test_what_does_not_go_together_is_named_before_anything_is_computed(options, message):
    with pytest.raises(ValueError, match=message):
        calibrate(None, None, TEXTS, **options)


def test_sources_without_an_end_token_are_shown_without_one_and_targets_with_theirs(model):
    # One is cut, one has no token.
    texts = [*TEXTS, "3 4 5 6 7 8 9 10 11 12 13", "x"]
    calibrate(model, BareNumberTokenizer(), texts, texts)
    lengths = [len(text.split()) for text in texts[:-1]]
    by_path = seen(model)
    encoder, decoder = (
        by_path[f"{side}_block_0/ffn_in/input_observer"] for side in ("encoder", "decoder")
    )
    assert encoder.total == DIM * sum(min(n, LENGTH) for n in lengths)
    assert decoder.total == DIM * sum(min(n + 1, LENGTH) for n in lengths)
    with pytest.raises(ValueError, match="no sentence to calibrate on"):
        calibrate(model, BareNumberTokenizer(), ["x"], ["3"])
