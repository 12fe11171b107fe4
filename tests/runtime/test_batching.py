"""Batches: every sentence once, like lengths together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from keras_int8nmt.runtime.batching import (
    cut_ids,
    longest_first,
    make_batches,
    pad_batch,
    sort_keys,
)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_every_sentence_is_in_one_batch(batch_size):
    lengths = np.random.default_rng(0).integers(1, 30, 50).tolist()
    batches = make_batches(lengths, batch_size)
    assert sorted(i for batch in batches for i in batch) == list(range(50))
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_the_longest_come_first_and_equals_keep_their_order():
    assert make_batches([2, 5, 2, 9, 5, 2], 2) == [[3, 1], [4, 0], [2, 5]]


def test_nothing_makes_no_batch():
    assert make_batches([], 4) == []


def test_a_batch_size_of_0_is_refused():
    with pytest.raises(ValueError, match="batch_size"):
        make_batches([1], 0)


def test_padding_follows_the_shorter_sentences():
    batch = pad_batch([[1, 2, 3], [4], []], pad_id=9)
    assert batch.dtype == np.int32
    np.testing.assert_array_equal(batch, [[1, 2, 3], [4, 9, 9], [9, 9, 9]])
    assert pad_batch([], 0).shape == (0, 0)


def test_a_bin_holds_no_more_tokens_than_its_bound_padding_included():
    lengths = np.random.default_rng(1).integers(1, 40, 200).tolist()
    batches = make_batches(lengths, 16, max_tokens=100)
    assert sorted(i for batch in batches for i in batch) == list(range(200))
    sizes = [len(batch) * max(lengths[i] for i in batch) for batch in batches]
    assert max(sizes) <= 100
    # No batch could have had the first of the next one.
    for batch, following in itertools.pairwise(batches):
        wider = max(lengths[i] for i in (*batch, following[0]))
        assert len(batch) == 16 or (len(batch) + 1) * wider > 100
    assert make_batches([500, 3], 16, max_tokens=100) == [[0], [1]]


def test_an_order_that_is_not_by_tokens_bounds_its_bins_as_well():
    # A long one that comes late makes the whole batch wide.
    assert make_batches([2, 2, 9, 2], 4, keys=[0, 0, 0, 0], max_tokens=12) == [[0, 1], [2], [3]]
    assert make_batches([2, 2, 9, 2], 2, keys=[1, 2, 3, 4]) == [[3, 2], [1, 0]]


def test_keys_are_tokens_words_or_nothing():
    ids, texts = [[1, 2, 3], [1], [1, 2]], ["a", "b c d", "e f"]
    assert sort_keys("tokens", ids, texts) == [3, 1, 2]
    assert sort_keys("words", ids, texts) == [1, 3, 2]
    assert longest_first(sort_keys("none", ids, texts)) == [0, 1, 2]
    with pytest.raises(ValueError, match="needs text"):
        sort_keys("words", ids)
    with pytest.raises(ValueError, match="tokens, words, none"):
        sort_keys("letters", ids)


def test_ids_are_cut_to_what_there_is_room_for_and_still_end():
    assert cut_ids([5, 6, 7, 0], 4, eos_id=0) == [5, 6, 7, 0]
    assert cut_ids([5, 6, 7, 8, 0], 4, eos_id=0) == [5, 6, 7, 0]
    assert cut_ids([5, 0], 1, eos_id=0) == [0]


def test_ids_without_an_end_are_cut_without_one():
    assert cut_ids([5, 6, 7], 3, eos_id=None) == [5, 6, 7]
    assert cut_ids([5, 6, 7], 2, eos_id=None) == [5, 6]
