"""sacreBLEU's BLEU, chrF and TER, as `measure` and `significance` use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# One reference a sentence, or several lists of such.
References = Sequence[str] | Sequence[Sequence[str]]


def reference_lists(references: References) -> list[list[str]]:
    """`references` as lists of one reference a sentence, all of one length.

    Raises:
        ValueError: where there are no references, or not as many in each list.
    """
    if not references:
        raise ValueError("There is nothing to score.")
    if isinstance(references[0], str):
        return [[str(line) for line in references]]
    lists = [list(lines) for lines in references]
    if len({len(lines) for lines in lists}) != 1 or not lists[0]:
        raise ValueError(
            "Each list of references must have one for each sentence; they have "
            f"{', '.join(str(len(lines)) for lines in lists)}."
        )
    return lists


def make_metrics(
    references: Sequence[Sequence[str]], label: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The metrics by sacreBLEU's names of them, with `references` in them.

    Args:
        references: What `reference_lists` gives.
        label: See `signatures`. Of the pair "lang" the target language chooses BLEU's tokenizer.
    """
    from sacrebleu.metrics import BLEU, CHRF, TER

    return {
        "BLEU": BLEU(trg_lang=target_language(label), references=references),
        "chrF2": CHRF(references=references),
        "TER": TER(references=references),
    }


def target_language(label: Mapping[str, str] | None) -> str:
    """The target language of a label, or "" where it names no pair."""
    return (label or {}).get("lang", "").rpartition("-")[2]


def signatures(found: Mapping[str, Any], label: Mapping[str, str] | None = None) -> dict[str, str]:
    """sacreBLEU's signatures as text.

    Args:
        found: Signature objects, or metrics that have scored, by name.
        label: What belongs in a signature and the metric does not know: "test" (the name of a test
            set) and "lang" (its pair, such as "en-de").
    """
    texts = {}
    for name, value in found.items():
        signature = value.get_signature() if hasattr(value, "get_signature") else value
        for key, text in (label or {}).items():
            signature.update(key, text)
        texts[name] = str(signature)
    return texts
