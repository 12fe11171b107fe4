"""Translations on their way from a node: few large objects instead of many small ones.

Of the smallest models a sentence takes a quarter of a millisecond, of which its pickle as objects
would be a tenth.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from keras_int8nmt.runtime.results import Hypothesis
from keras_int8nmt.translation.results import Translation


@dataclass(frozen=True)
class PackedOutcomes:
    """What became of texts, see `CarefulTranslations`; of each the best hypothesis alone.

    Attributes:
        texts: Translations, or why there is none.
        failed, finished, source_cut: A byte for each, 0 or 1.
        scores: Their scores.
        lengths: How many of the tokens are whose.
        tokens: Those of all.
    """

    texts: list[str]
    failed: bytes
    finished: bytes
    source_cut: bytes
    scores: array[float]
    lengths: array[int]
    tokens: array[int]

    @classmethod
    def of(cls, outcomes: Sequence[Translation | str]) -> PackedOutcomes:
        """Packs them."""
        nothing = Hypothesis("", [], 0.0)
        best = [nothing if isinstance(each, str) else each.hypotheses[0] for each in outcomes]
        tokens = array("i")
        for hypothesis in best:
            tokens.extend(hypothesis.tokens)
        return cls(
            [each if isinstance(each, str) else each.text for each in outcomes],
            bytes(isinstance(each, str) for each in outcomes),
            bytes(hypothesis.finished for hypothesis in best),
            bytes(not isinstance(each, str) and each.source_cut for each in outcomes),
            array("d", [hypothesis.score for hypothesis in best]),
            array("i", [len(hypothesis.tokens) for hypothesis in best]),
            tokens,
        )

    def outcomes(self) -> list[Translation | str]:
        """What was packed."""
        found: list[Translation | str] = []
        end = 0
        for i, text in enumerate(self.texts):
            begin, end = end, end + self.lengths[i]
            if self.failed[i]:
                found.append(text)
                continue
            tokens = self.tokens[begin:end].tolist()
            hypothesis = Hypothesis(text, tokens, self.scores[i], bool(self.finished[i]))
            found.append(Translation([hypothesis], bool(self.source_cut[i])))
        return found
