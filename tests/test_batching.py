"""Batches: every sentence once, like lengths together."""

from __future__ import annotations

import numpy as np
import pytest

from keras_int8nmt.batching import make_batches, pad_batch


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
