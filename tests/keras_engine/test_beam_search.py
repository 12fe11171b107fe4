"""`search` on tables of random numbers, against a search in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_int8nmt.keras_engine import beam_search
from keras_int8nmt.keras_engine.beam_search import search
from keras_int8nmt.runtime.search_options import SearchOptions

PAD, EOS, START = 0, 1, 2


def random_table(rng, batch, length, vocabulary, *, coarse=False, eos_bias=0.0):
    """Logits `[batch, length, vocabulary (last token), vocabulary]`; coarse ones have many ties."""
    table = rng.normal(0, 2, (batch, length, vocabulary, vocabulary)).astype(np.float32)
    table[..., EOS] += eos_bias
    return np.round(table / 2) * 2 if coarse else table


def log_softmax(x):
    x = x.astype(np.float64)
    top = x.max(-1, keepdims=True)
    return (x - top - np.log(np.exp(x - top).sum(-1, keepdims=True))).astype(np.float32)


def repeats(tokens, size):
    """Whether the last `size` tokens have occurred before."""
    runs = [tokens[i : i + size] for i in range(len(tokens) - size)]
    return size > 0 and tokens[-size:] in runs


def plain_search(
    table, *, beam_size, max_length, min_length=0, length_penalty=1.0, no_repeat_ngram_size=0
):
    """One sentence, `table` `[length, row, vocabulary]`; returns `[(score, tokens)]`."""
    log_probs = log_softmax(table)
    live, ended = [(np.float32(0), [])], []
    for n in range(1, max_length + 1):
        candidates = []
        for beam, (score, tokens) in enumerate(live):
            row = log_probs[n - 1, row_of(tokens, table.shape[1])]
            allowed = {
                token
                for token in range(len(row))
                if token != PAD and not (token == EOS and n < min_length)
            }
            fresh = {t for t in allowed if not repeats([*tokens, t], no_repeat_ngram_size)}
            if n == max_length or (allowed and not fresh):
                fresh = {EOS}
            for token in fresh:
                total = score + row[token]
                if total > -np.inf:
                    candidates.append((-total, token, beam))
        candidates = sorted(candidates)[: 2 * beam_size]
        for total, token, beam in candidates[:beam_size]:
            if token == EOS:
                ended.append((-total / np.float32(n**length_penalty), [*live[beam][1], EOS]))
        going_on = [c for c in candidates if c[1] != EOS][:beam_size]
        live = [(-total, [*live[beam][1], token]) for total, token, beam in going_on]
        if not live:
            break
        best_live = live[0][0] / np.float32(n**length_penalty)
        if len(ended) >= beam_size and best_live <= max(score for score, _ in ended):
            break
    return sorted(ended, key=lambda pair: -pair[0])[:beam_size]


def row_of(tokens, rows):
    """The row of the table depends on every token before, as a model's logits do."""
    state = START
    for token in tokens:
        state = (state * 3 + token) % rows
    return state % rows


def run_search(table, *, beam_size, num_hypotheses=None, selecting=True, **options):
    """`search` with a cache: the sentence and `[b * beam, capacity]` tokens so far."""
    batch, _, rows, vocabulary = table.shape
    flat = tf.constant(table.reshape(-1, vocabulary))
    asked = SearchOptions(
        beam_size=beam_size, num_hypotheses=num_hypotheses or beam_size, **options
    )
    length = table.shape[1]

    def step(tokens, index, cache):
        sentences, cache = cache
        column = tf.one_hot(index, tf.shape(cache)[1], dtype=tf.int32)
        cache = cache * (1 - column) + tf.reshape(tokens, [-1, 1]) * column
        prefix = tf.pad(cache, [[0, 0], [0, length]])[:, :length]
        state = prefix[:, 0]
        for i in range(1, length):
            state = tf.where(i <= index, (state * 3 + prefix[:, i]) % rows, state)
        row = (tf.repeat(sentences, beam_size) * length + index) * rows + state % rows
        return tf.gather(flat, row), (sentences, cache)

    def reorder(cache, parents):
        first = tf.range(tf.shape(parents)[0])[:, None] * beam_size
        return cache[0], tf.gather(cache[1], tf.reshape(first + parents, [-1]))

    def grow(cache, capacity):
        return cache[0], tf.pad(cache[1], [[0, 0], [0, capacity - tf.shape(cache[1])[1]]])

    def select(cache, kept, count):
        assert_count = tf.debugging.assert_equal(count, tf.size(cache[0]))
        with tf.control_dependencies([assert_count]):
            rows = kept[:, None] * beam_size + tf.range(beam_size)
            return tf.gather(cache[0], kept), tf.gather(cache[1], tf.reshape(rows, [-1]))

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def run(size):
        cache = tf.range(size), tf.zeros([size * beam_size, 0], tf.int32)
        return search(
            step, reorder, grow, cache, batch=size, options=asked, start_id=START, eos_id=EOS,
            pad_id=PAD, select=select if selecting else None,
        )  # fmt: skip

    tokens, lengths, scores = (x.numpy() for x in run(tf.constant(batch)))
    for row, n in zip(
        [row for sentence in tokens for row in sentence], lengths.reshape(-1), strict=True
    ):
        assert (row[n:] == PAD).all()
    return [
        [
            (score, row[:n].tolist())
            for row, n, score in zip(*sentence, strict=True)
            if score > -np.inf
        ]
        for sentence in zip(tokens, lengths, scores, strict=True)
    ]


def assert_same(found, expected):
    assert [tokens for _, tokens in found] == [tokens for _, tokens in expected]
    np.testing.assert_allclose([s for s, _ in found], [s for s, _ in expected], rtol=2e-5)


@pytest.mark.parametrize("beam_size", [1, 3, 4])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"length_penalty": 0.0},
        {"length_penalty": 0.6, "min_length": 4},
        {"length_penalty": 2.0},
        {"min_length": 6},
        {"max_length": 1},
        {"max_length": 2, "min_length": 2},
        {"no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 2},
        {"no_repeat_ngram_size": 3, "length_penalty": 0.0},
        {"no_repeat_ngram_size": 1, "min_length": 5},
    ],
)
def test_search_is_the_plain_search(beam_size, options):
    rng = np.random.default_rng(beam_size)
    options = {"max_length": 6, **options}
    for eos_bias in (-3.0, 0.0, 2.0):
        table = random_table(rng, 12, 6, 9, eos_bias=eos_bias)
        found = run_search(table, beam_size=beam_size, **options)
        for sentence, result in zip(table, found, strict=True):
            assert_same(result, plain_search(sentence, beam_size=beam_size, **options))


@pytest.mark.parametrize("beam_size", [1, 2, 4])
def test_ties_go_to_the_lower_token_then_to_the_lower_beam(beam_size):
    # All of a row's log-probabilities are multiples of the same number, so sums tie exactly.
    rng = np.random.default_rng(5)
    table = np.full((40, 4, 8, 8), -np.inf, np.float32)
    for row in table.reshape(-1, 8):
        row[rng.permutation(8)[:4]] = 0.0  # each of the four: log 1/4
    table[..., EOS] = 0.0
    table[..., PAD] = -np.inf
    found = run_search(table, beam_size=beam_size, max_length=4)
    for sentence, result in zip(table, found, strict=True):
        assert_same(result, plain_search(sentence, beam_size=beam_size, max_length=4))


@pytest.mark.parametrize("vocabulary", [2, 3, 4])
@pytest.mark.parametrize("beam_size", [1, 2, 5])
def test_vocabularies_smaller_than_the_beam(vocabulary, beam_size):
    table = random_table(np.random.default_rng(1), 8, 5, vocabulary, eos_bias=-1.0)
    found = run_search(table, beam_size=beam_size, max_length=5)
    for sentence, result in zip(table, found, strict=True):
        assert_same(result, plain_search(sentence, beam_size=beam_size, max_length=5))
        assert result


def test_impossible_tokens_are_never_produced():
    table = random_table(np.random.default_rng(2), 8, 5, 6)
    table[..., 3:] = -np.inf  # what is left: pad, the end token and one other
    found = run_search(table, beam_size=4, max_length=5, min_length=3)
    for sentence, result in zip(table, found, strict=True):
        assert_same(result, plain_search(sentence, beam_size=4, max_length=5, min_length=3))
        assert all(np.isfinite(score) and set(tokens) <= {1, 2} for score, tokens in result)


@pytest.mark.parametrize("min_length", [0, 6])
def test_where_every_token_is_forbidden_the_end_token_is_left(min_length):
    # Two words that may each occur once; the end token is far from being the best.
    table = random_table(np.random.default_rng(9), 12, 6, 4, eos_bias=-9.0)
    options = {"max_length": 6, "min_length": min_length, "no_repeat_ngram_size": 1}
    found = run_search(table, beam_size=2, **options)
    for sentence, result in zip(table, found, strict=True):
        assert_same(result, plain_search(sentence, beam_size=2, **options))
        assert {len(tokens) for _, tokens in result} <= ({3} if min_length else {1, 2, 3})


def test_no_run_of_tokens_occurs_twice():
    table = random_table(np.random.default_rng(10), 20, 12, 5, eos_bias=-6.0)
    free = run_search(table, beam_size=3, max_length=12)
    assert any(repeats(t[: i + 1], 2) for r in free for _, t in r for i in range(len(t)))
    for result in run_search(table, beam_size=3, max_length=12, no_repeat_ngram_size=2):
        for _, tokens in result:
            assert not any(repeats(tokens[: i + 1], 2) for i in range(len(tokens)))


def test_a_sentence_without_any_hypothesis_has_length_0():
    table = np.zeros((2, 3, 4, 4), np.float32)
    table[0, ..., EOS] = -np.inf
    none, some = run_search(table, beam_size=2, max_length=3)
    assert none == []
    assert some


def test_beam_1_is_greedy():
    table = random_table(np.random.default_rng(3), 30, 6, 9)
    for sentence, result in zip(table, run_search(table, beam_size=1, max_length=6), strict=True):
        tokens: list[int] = []
        while len(tokens) < 5 and tokens[-1:] != [EOS]:
            logits = sentence[len(tokens), row_of(tokens, 9)].copy()
            logits[PAD] = -np.inf
            tokens.append(int(np.argmax(logits)))
        if tokens[-1] != EOS:
            tokens.append(EOS)
        assert result[0][1] == tokens


def test_other_sentences_of_a_batch_change_nothing():
    table = random_table(np.random.default_rng(4), 20, 8, 9, eos_bias=-1.0)
    together = run_search(table, beam_size=3, max_length=8)
    for i in range(0, 20, 4):
        alone = run_search(table[i : i + 1], beam_size=3, max_length=8)[0]
        assert alone == together[i]


def test_dropping_sentences_that_have_stopped_changes_nothing():
    table = random_table(np.random.default_rng(8), 40, 9, 9)
    table[::7, ..., EOS] -= 6.0  # a few go on for long
    with_all = run_search(table, beam_size=3, max_length=9, selecting=False)
    assert run_search(table, beam_size=3, max_length=9) == with_all
    assert len({len(result[0][1]) for result in with_all}) > 4


def test_growing_the_cache_changes_nothing(monkeypatch):
    table = random_table(np.random.default_rng(6), 6, 9, 7, eos_bias=-4.0)
    whole = run_search(table, beam_size=3, max_length=9)
    monkeypatch.setattr(beam_search, "CHUNK", 2)
    assert run_search(table, beam_size=3, max_length=9) == whole


def test_hypotheses_are_ordered_by_score_and_fewer_are_the_first():
    table = random_table(np.random.default_rng(7), 10, 6, 9)
    four = run_search(table, beam_size=4, max_length=6)
    two = run_search(table, beam_size=4, max_length=6, num_hypotheses=2)
    for best, all_four in zip(two, four, strict=True):
        scores = [score for score, _ in all_four]
        assert scores == sorted(scores, reverse=True)
        assert best == all_four[:2]


def test_no_sentences():
    assert run_search(np.zeros((0, 3, 5, 5), np.float32), beam_size=2, max_length=3) == []
