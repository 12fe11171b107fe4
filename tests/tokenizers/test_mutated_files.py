"""Files of tokenizers that anybody may have written: opened, or one error of ours that names it."""

from __future__ import annotations

import random

import pytest
from helpers.mutations import copy_folder, mutate
from helpers.tokenizers import small_tokenizers

from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.kinds import kind_of, load_tokenizer

ROUNDS = 120
NAMES = [
    "SentencePieceTokenizer",
    "HuggingFaceTokenizer",
    "WordPieceTokenizer",
    "SubwordNMTTokenizer",
]


def opened(folder, files, name):
    """A tokenizer, or what the error says."""
    try:
        return load_tokenizer(folder, files, name), None
    except TokenizerError as error:
        return None, str(error)


@pytest.mark.parametrize("name", NAMES)
def test_a_mutated_file_is_opened_or_named(name, tmp_path):
    rng = random.Random(7)
    tokenizer = small_tokenizers(tmp_path)[name]
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    tokenizer.save(good)
    files = [path.name for path in good.iterdir()]
    refused = 0
    for _ in range(ROUNDS):
        copy_folder(good, bad)
        what = mutate(bad, rng)
        made, told = opened(bad, files, kind_of(tokenizer).name)
        if made is None:
            assert any(name in told for name in files), (what, told)
            refused += 1
            continue
        for text in ("the cat sat", "", "\U0001f600 </s> <pad>"):
            ids = made.encode(text)
            assert all(type(i) is int for i in ids), what
            assert ids[-1] == made.eos_id, what
            assert isinstance(made.decode(ids), str), what
    assert refused > ROUNDS / 4
