"""BLEU, chrF, speed and memory: what is counted, and the names of the figures."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from keras_int8nmt import native
from keras_int8nmt.evaluation import evaluate
from keras_int8nmt.evaluation.measure import (
    gemm_of,
    peak_rss_mb,
    reset_peak_rss,
    score,
    translate_timed,
)
from keras_int8nmt.translation.translator import Hypothesis, Translation

KEYS = [
    "bleu",
    "chrf",
    "signature",
    "sentences",
    "target_tokens",
    "seconds",
    "tokens_per_second",
    "peak_rss_mb",
    "precision",
    "gemm",
    "ter",
    "signatures",
]


class Echo:
    """A translator that gives back what it is given: a token a word, and the end token."""

    batch_size = 2
    model = SimpleNamespace()
    path = "layers"

    def __init__(self):
        self.calls = []

    def translate(self, texts, progress=None):
        self.calls.append(list(texts))
        if progress is not None:
            progress(len(texts))
        return [
            Translation([Hypothesis(t, [*range(2, 2 + len(t.split())), 1], 0.0), None])
            for t in texts
        ]


TEXTS = ["das ist ein kleiner Satz .", "und noch einer ist hier .", "ein dritter , der lang ist ."]


def test_equal_texts_score_100_and_others_less():
    same = score(TEXTS, TEXTS)
    assert (same.bleu, same.chrf, same.ter) == pytest.approx((100.0, 100.0, 0.0))
    other = score([TEXTS[0], TEXTS[1], "nichts davon"], TEXTS)
    assert 0 < other.bleu < 100
    assert 0 < other.chrf < 100
    assert 0 < other.ter < 100


def test_scores_are_those_of_sacrebleu():
    import sacrebleu

    hypotheses = [TEXTS[0], TEXTS[1], "ein dritter , der kurz ist ."]
    found = score(hypotheses, TEXTS)
    assert found.bleu == sacrebleu.corpus_bleu(hypotheses, [TEXTS]).score
    assert found.chrf == sacrebleu.corpus_chrf(hypotheses, [TEXTS]).score
    assert found.ter == sacrebleu.corpus_ter(hypotheses, [TEXTS]).score
    for part in ("BLEU|nrefs:1|case:mixed", "tok:13a", "chrF2|nrefs:1", "version:"):
        assert part in found.signature
    assert list(found.signatures) == ["BLEU", "chrF2", "TER"]
    assert found.signatures["TER"].startswith("nrefs:1|case:lc|tok:tercom")


def test_several_references_and_a_label_are_in_the_scores_and_the_signatures():
    import sacrebleu

    hypotheses = [TEXTS[0], TEXTS[1], "ein anderer , der kurz ist ."]
    second = [TEXTS[1], TEXTS[0], hypotheses[2]]
    found = score(hypotheses, [TEXTS, second], {"test": "wmt14", "lang": "en-de"})
    assert found.bleu == sacrebleu.corpus_bleu(hypotheses, [TEXTS, second]).score
    assert found.bleu == pytest.approx(100)
    for signature in found.signatures.values():
        assert signature.startswith("nrefs:2|test:wmt14|lang:en-de|")


def test_the_target_language_of_the_label_chooses_the_tokenizer_of_bleu():
    found = score(["你好。", "再见。"], ["你好。", "再见。"], {"lang": "en-zh"})
    assert "tok:zh" in found.signatures["BLEU"]


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="2 translations and 3 references"):
        score(TEXTS[:2], TEXTS)
    with pytest.raises(ValueError, match="2 sources and 3 references"):
        evaluate(Echo(), TEXTS[:2], TEXTS)
    with pytest.raises(ValueError, match="nothing to score"):
        score([], [])
    with pytest.raises(ValueError, match="one for each sentence; they have 3, 2"):
        score(TEXTS, [TEXTS, TEXTS[:2]])


def test_the_figures_have_their_names_and_are_json():
    moved = []
    figures, texts = evaluate(Echo(), TEXTS, TEXTS, moved.append)
    content = json.loads(json.dumps(figures.to_dict()))
    assert list(content) == KEYS
    assert texts == TEXTS
    assert moved == [3]
    assert content["sentences"] == 3
    # Words and end tokens.
    assert content["target_tokens"] == 6 + 6 + 7 + 3
    assert content["tokens_per_second"] == content["target_tokens"] / content["seconds"]
    assert (content["precision"], content["gemm"]) == ("float32", "tensorflow")


def test_the_longest_sentences_warm_up_before_the_clock_starts():
    translator = Echo()
    translate_timed(translator, TEXTS)
    assert translator.calls == [[TEXTS[0], TEXTS[2]], TEXTS]


def test_a_translator_names_what_multiplies(monkeypatch):
    def gemm(precision, path):
        return gemm_of(SimpleNamespace(model=SimpleNamespace(precision=precision), path=path))

    back_ends = (
        "vnni",
        "madd",
        "i8mm",
        "dotprod",
        "neon",
        "onednn",
        "mkl",
        "reference",
        "tensorflow",
    )
    assert all(gemm("int8", path) in back_ends for path in ("fast", "layers"))
    assert gemm("float32", "fast") in ("fma", "onednn", "loops")
    assert gemm("float32", "layers") == "tensorflow"
    monkeypatch.setattr(native, "info", lambda: {"native": False, "reason": "it was asked for"})
    assert gemm("mixed", "layers") == "tensorflow"


def test_peak_memory_counts_what_was_touched():
    before = peak_rss_mb()
    assert before > 10
    block = bytearray(b"x") * 300_000_000
    assert peak_rss_mb() >= 300
    del block


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts anew")
def test_peak_memory_of_a_model_is_not_that_of_the_one_before():
    block = bytearray(b"x") * 300_000_000
    with_block = peak_rss_mb()
    del block
    reset_peak_rss()
    assert peak_rss_mb() < with_block - 200
