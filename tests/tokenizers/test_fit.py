"""A tokenizer that is not the model's is refused when it is loaded."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.tokenizers.fit import VocabularyError, check_fit

MODEL = SimpleNamespace(
    pad_id=0,
    eos_id=1,
    settings={"source_vocabulary_size": 100, "target_vocabulary_size": 60},
)


def tokenizer(source=range(100), target=range(60), **ids):
    return SimpleNamespace(
        **{"pad_id": 0, "eos_id": 1, **ids}, source_ids=source, target_ids=target
    )


@pytest.mark.parametrize(
    "fits",
    [
        tokenizer(),
        # Some embeddings are padding.
        tokenizer(range(97), range(54)),
        # The source has more embeddings than are ever used.
        tokenizer(range(9)),
        # One that can't tell its ids.
        SimpleNamespace(pad_id=0, eos_id=1),
    ],
)
def test_what_fits_is_taken(fits):
    check_fit(MODEL, fits)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (tokenizer(range(101)), "source id 100, and the model's ids are below 100"),
        (tokenizer(target=range(61)), "target id 60, and the model's ids are below 60"),
        (tokenizer(target=range(53)), "lacks 7 of the 60 ids"),
        (tokenizer(eos_id=2), "`eos_id` of the model is 1, of the tokenizer 2"),
        (tokenizer(pad_id=9), "`pad_id` of the model is 0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(other, message):
    for kind in (VocabularyError, KerasInt8nmtError, ValueError):
        with pytest.raises(kind, match=message):
            check_fit(MODEL, other)
