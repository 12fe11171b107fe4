"""Whether a tokenizer and a model belong together."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from keras_int8nmt.errors import KerasInt8nmtError

# Models may have some more embeddings than their vocabulary has pieces: sizes are rounded up.
_MOST_LACKING = 0.1


class VocabularyError(KerasInt8nmtError, ValueError):
    """A tokenizer is not the model's; the message says what does not fit."""


def lacking_message(folder: Any, model: Any, tokenizer: Any) -> str | None:
    """One line on ids that a model has and its tokenizer has not; None where there are none."""
    lacking = []
    for side in ("source", "target"):
        ids: Collection[int] | None = getattr(tokenizer, f"{side}_ids", None)
        size = model.settings.get(f"{side}_vocabulary_size")
        if ids is not None and size is not None and len(ids) < size:
            lacking.append(f"{size - len(ids)} of {size} {side} ids")
    if not lacking:
        return None
    return (
        f"The tokenizer of {str(folder)!r} lacks {' and '.join(lacking)} of the model. A "
        "translation with one of them is an error of its line; was a token added, and its file "
        "left behind?"
    )


def check_fit(model: Any, tokenizer: Any) -> None:
    """Raises VocabularyError where a tokenizer is not that of a model.

    A model may have ids that the vocabulary lacks: most are never produced, and a translation with
    one of them is an error of its line. So many that it must be another vocabulary are refused.

    Args:
        model: Has `pad_id`, `eos_id` and `settings`, among them `source_vocabulary_size` and mostly
            `target_vocabulary_size`.
        tokenizer: With `source_ids` and `target_ids` where it can tell its ids.
    """
    for name in ("pad_id", "eos_id"):
        ours, theirs = getattr(model, name), getattr(tokenizer, name)
        if ours != theirs:
            raise VocabularyError(f"`{name}` of the model is {ours}, of the tokenizer {theirs}.")
    for side in ("source", "target"):
        ids: Collection[int] | None = getattr(tokenizer, f"{side}_ids", None)
        size = model.settings.get(f"{side}_vocabulary_size")
        if ids is None or size is None:
            continue
        largest = max(ids, default=-1)
        if largest >= size:
            raise VocabularyError(
                f"The vocabulary does not fit the model: it has the {side} id {largest}, and the "
                f"model's ids are below {size}."
            )
        lacking = size - len(ids)
        if side == "target" and lacking > _MOST_LACKING * size:
            raise VocabularyError(
                f"The vocabulary does not fit the model: it lacks {lacking} of the {size} ids that "
                "the model produces."
            )
