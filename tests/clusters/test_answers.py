"""What nodes send is what they found."""

from __future__ import annotations

import pickle

from keras_int8nmt.clusters.answers import PackedOutcomes
from keras_int8nmt.translation.results import NOTHING, Hypothesis, Translation


def test_outcomes_are_the_same_after_packing_but_for_further_hypotheses():
    best = Hypothesis("grün", [70000, 5, 0], -0.1)
    outcomes = [
        Translation([best, Hypothesis("rot", [4, 0], -1.5)], source_cut=True),
        "it can't be tokenized: no such letter",
        NOTHING,
        Translation([Hypothesis("", [3] * 40, -2.25, finished=False)]),
    ]
    packed = pickle.loads(pickle.dumps(PackedOutcomes.of(outcomes)))
    assert packed.outcomes() == [Translation([best], source_cut=True), *outcomes[1:]]
    assert PackedOutcomes.of([]).outcomes() == []
