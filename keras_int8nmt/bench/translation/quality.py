"""BLEU of each engine's translations, and how they compare with ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_int8nmt.evaluation.bootstrap import compare, sentence_statistics
from keras_int8nmt.evaluation.measure import score


def compare_quality(
    ours: str, translations: Mapping[str, Sequence[str]], references: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """For each engine `bleu` and `chrf`; for each but ours `identical_lines` and `p_value`.

    `p_value` is that of a paired bootstrap: how likely a difference in BLEU from ours as large as
    the one seen is by chance.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, lines in translations.items():
        scores = score(lines, references)
        found[name] = {
            "bleu": scores.bleu,
            "chrf": scores.chrf,
            "signature": scores.signature,
            "sentences": len(references),
        }
    counts = {n: sentence_statistics(t, references) for n, t in translations.items()}
    for name, lines in translations.items():
        if name == ours or ours not in translations:
            continue
        first = translations[ours]
        same = sum(a == b for a, b in zip(first, lines, strict=True))
        found[name]["identical_lines"] = same
        found[name]["p_value"] = compare(counts[ours], counts[name]).p
    return found
