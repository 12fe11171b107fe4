"""A language of sixteen letters: its tokenizer, random texts, and answers compared up to ties."""

from __future__ import annotations

import numpy as np
import pytest

PAD, EOS, START, UNKNOWN, FIRST = 0, 1, 2, 3, 4
LETTERS = "abcdefghijklmnop"
TIE = 1e-4


class LetterTokenizer:
    """One token a letter; characters that are none of ours are unknown."""

    pad_id, eos_id = PAD, EOS

    def encode(self, text):
        ids = {letter: FIRST + i for i, letter in enumerate(LETTERS)}
        return [ids.get(c, UNKNOWN) for c in text if c != " "] + [EOS]

    def decode(self, ids):
        return "".join(LETTERS[i - FIRST] for i in ids if i >= FIRST)


class BareLetterTokenizer(LetterTokenizer):
    """Of a model whose sources have no end token."""

    source_eos = False

    def encode(self, text):
        return super().encode(text)[:-1]


def random_texts(count, seed=1):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(LETTERS), rng.integers(1, 20))) for _ in range(count)]


def count_ties(ours, others):
    """How many sentences differ; each of them must be a tie in score."""
    ties = 0
    for one, other in zip(ours, others, strict=True):
        best, second = one.hypotheses[0], other.hypotheses[0]
        assert best.score == pytest.approx(second.score, abs=TIE)
        ties += best.tokens != second.tokens
    return ties
