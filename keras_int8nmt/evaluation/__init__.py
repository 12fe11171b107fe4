"""Scores, and whether they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "evaluate": "evaluation.measure",
    "Evaluation": "evaluation.measure",
}

__all__ = [
    "Evaluation",
    "evaluate",
]

if TYPE_CHECKING:
    from keras_int8nmt.evaluation.measure import (
        Evaluation,
        evaluate,
    )
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
