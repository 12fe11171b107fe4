"""`Translator`: order, batches, streams, limits, errors; and the trained model's reference."""

from __future__ import annotations

import json
import threading

import keras
import numpy as np
import pytest
import sacrebleu
import tensorflow as tf
from helpers.letters import (
    EOS,
    FIRST,
    LETTERS,
    PAD,
    START,
    TIE,
    BareLetterTokenizer,
    LetterTokenizer,
    count_ties,
    random_texts,
)

from keras_int8nmt._text import visible
from keras_int8nmt.keras_engine import engine
from keras_int8nmt.models.build import build_transformer
from keras_int8nmt.runtime.results import Hypothesis
from keras_int8nmt.tokenizers.fit import VocabularyError
from keras_int8nmt.translation.results import SentenceError
from keras_int8nmt.translation.translator import Translator


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    model = build_transformer(
        quant=False,
        source_vocabulary_size=FIRST + len(LETTERS),
        num_encoder_layers=1,
        num_decoder_layers=2,
        model_dim=16,
        num_heads=2,
        ffn_dim=32,
        max_length=24,
        pad_id=PAD,
        eos_id=EOS,
        start_id=START,
    )
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(0, 0.25, weight.shape).astype(np.float32))
    return model


def results(model, texts, **options):
    options = {"beam_size": 3, "max_length": 12, **options}
    return Translator(model, LetterTokenizer(), **options).translate(texts)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_batch_size_never_changes_an_answer(model, beam_size):
    texts = random_texts(40)
    by_size = {
        size: results(model, texts, beam_size=beam_size, batch_size=size) for size in (1, 7, 32)
    }
    ties = [count_ties(by_size[1], by_size[size]) for size in (7, 32)]
    print(f"beam {beam_size}: ties closer than {TIE} at batch 7 and 32: {ties}")
    assert max(ties) <= 1
    assert len({tuple(r.hypotheses[0].tokens) for r in by_size[1]}) > 5


def test_padding_never_changes_an_answer(model):
    translator = Translator(model, LetterTokenizer(), beam_size=4, max_length=12).graph_engine
    ids = np.array([LetterTokenizer().encode("abcdefgh"), LetterTokenizer().encode("ponmlkji")])
    bare = translator.search(tf.constant(ids, tf.int32))
    for width in (1, 2, 9):
        padded = translator.search(tf.pad(tf.constant(ids, tf.int32), [[0, 0], [0, width]]))
        np.testing.assert_array_equal(padded.tokens, bare.tokens)
        np.testing.assert_allclose(padded.scores, bare.scores, atol=1e-5)


def padded(sequences):
    """One array of sequences of several lengths."""
    width = max(map(len, sequences))
    return np.array([[*each, *[PAD] * (width - len(each))] for each in sequences], np.int32)


def test_scores_are_those_of_all_positions_at_once(model):
    texts = random_texts(10)
    sources = np.repeat(padded([LetterTokenizer().encode(text) for text in texts]), 4, axis=0)
    for alpha in (0.0, 1.0):
        found = results(model, texts, beam_size=4, num_hypotheses=4, length_penalty=alpha)
        hypotheses = [hypothesis for result in found for hypothesis in result.hypotheses]
        fed = padded([[START, *hypothesis.tokens[:-1]] for hypothesis in hypotheses])
        log_probs = tf.nn.log_softmax(model({"source": sources, "target": fed})).numpy()
        for row, hypothesis in zip(log_probs, hypotheses, strict=True):
            tokens = hypothesis.tokens
            total = row[np.arange(len(tokens)), tokens].sum()
            assert hypothesis.score == pytest.approx(total / len(tokens) ** alpha, abs=1e-4)
            assert tokens[-1] == EOS
            assert PAD not in tokens


def test_beam_1_is_greedy(model):
    texts = random_texts(8)
    sources = padded([LetterTokenizer().encode(text) for text in texts])
    fed, found = np.full((8, 1), START), results(model, texts, beam_size=1)
    for _ in range(11):
        logits = model({"source": sources, "target": fed})[:, -1].numpy()
        logits[:, PAD] = -np.inf
        fed = np.column_stack([fed, np.argmax(logits, axis=-1)])
    for row, result in zip(fed[:, 1:].tolist(), found, strict=True):
        tokens = row[: row.index(EOS)] if EOS in row else row
        assert result.hypotheses[0].tokens == [*tokens, EOS]


def test_hypotheses_are_ordered_and_the_first_is_the_answer(model):
    texts = random_texts(12)
    many = results(model, texts, beam_size=4, num_hypotheses=4)
    for result in many:
        scores = [h.score for h in result.hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(h.tokens) for h in result.hypotheses}) == len(scores) == 4
    translator = Translator(model, LetterTokenizer(), beam_size=4, max_length=12)
    assert translator(texts) == [r.hypotheses[0].text for r in many]


def test_minimum_and_maximum_length(model):
    texts = random_texts(20)
    for low, high in ((0, 1), (5, 5), (6, 9), (0, 40)):
        found = results(model, texts, min_length=low, max_length=high, num_hypotheses=3)
        lengths = {len(h.tokens) for r in found for h in r.hypotheses}
        assert low <= min(lengths)
        assert max(lengths) <= min(high, model.max_length)


@pytest.mark.parametrize("streams", [3, "auto"])
def test_streams_give_the_same_answers_in_the_same_order(model, streams):
    texts = random_texts(40)
    done = []
    translator = Translator(
        model, LetterTokenizer(), beam_size=2, max_length=8, batch_size=6, streams=streams
    )
    found = translator.translate(texts, progress=done.append)
    assert found == results(model, texts, beam_size=2, max_length=8, batch_size=6, streams=1)
    assert sum(done) == 40


def test_nothing_and_empty_texts(model):
    translator = Translator(model, LetterTokenizer(), max_length=8)
    assert translator([]) == []
    done = []
    found = translator.translate(["", "abc", " \u00a0\t"], progress=done.append)
    assert [r.hypotheses[0].text for r in found][::2] == ["", ""]
    assert found[0].hypotheses[0].score == 0.0
    assert translator(["abc"]) == [found[1].hypotheses[0].text]
    assert sum(done) == 3
    # The end token alone is a source like any other.
    assert translator.translate_ids([[EOS]])[0].hypotheses[0].tokens[-1] == EOS


def test_ids_give_the_answers_of_texts(model):
    texts = random_texts(5)
    translator = Translator(model, None, beam_size=3, max_length=12)
    by_ids = translator.translate_ids([LetterTokenizer().encode(text) for text in texts])
    by_text = results(model, texts)
    assert [r.hypotheses[0].tokens for r in by_ids] == [r.hypotheses[0].tokens for r in by_text]
    assert by_ids[0].hypotheses[0].text is None
    with pytest.raises(ValueError, match="tokenizer"):
        translator(texts)


class RemarkingTokenizer(LetterTokenizer):
    def remark(self, text):
        return "begins with z" if text.startswith("z") else None


def test_what_a_tokenizer_remarks_is_told_with_the_number_of_the_line(model):
    translator = Translator(model, RemarkingTokenizer(), max_length=2)
    with pytest.warns(UserWarning, match=r"^Sentence 1 begins with z; Sentence 3 begins with z\.$"):
        translator(["ab", "zab", "", "z"])
    with pytest.warns(UserWarning, match=r"Sentence 19 begins with z; and so 2 more\.$"):
        translator(["z"] * 22)


def test_every_source_that_is_cut_is_named_and_marked(model):
    translator = Translator(model, LetterTokenizer(), max_length=8, max_source_length=6)
    with pytest.warns(UserWarning, match="11 tokens") as caught:
        found = translator.translate(["abcdefghij", "abc", "abcdefghijk"])
    assert [str(one.message) for one in caught] == [
        "Sentence 0 has 11 tokens, Sentence 2 has 12 tokens; longer ones than 6 are cut."
    ]
    assert [one.source_cut for one in found] == [True, False, True]
    with pytest.warns(UserWarning, match="Sentence 1 has 9 tokens; longer"):
        again = translator.translate(["abcde", "abcdefgh"])
    assert [one.source_cut for one in again] == [False, True]
    assert again[0].text == again[1].text == found[0].text
    with pytest.warns(UserWarning, match=r"Sentence 19 has 9 tokens and 3 more have too many; "):
        translator(["abcdefgh"] * 23)
    with pytest.warns(UserWarning, match="than 24"):
        Translator(model, LetterTokenizer(), max_length=8)(["abc" * 20])
    with pytest.warns(UserWarning, match="Sentence 0 has 7 tokens"):
        (by_ids,) = translator.translate_ids([[*range(FIRST, FIRST + 6), EOS]])
    assert by_ids.source_cut


def test_a_stream_names_sentences_by_their_number_in_it(model):
    translator = Translator(model, LetterTokenizer(), max_length=8, max_source_length=6)
    with pytest.warns(UserWarning, match="Sentence 3 has 9 tokens"):
        found = list(translator.translate_iter(["a", "b", "c", "abcdefgh", "d"], window=2))
    assert [one.source_cut for one in found] == [False, False, False, True, False]


NOTHING = [
    "",
    " ",
    "\u200b",
    "\ufeff",
    "\u200e",
    "\u061c",
    "\u0301",
    "\u00ad",
    "\0",
    "\u2800\u3164",
]


@pytest.mark.parametrize("path", ["auto", "layers"])
def test_text_that_can_not_be_seen_has_the_empty_translation(model, path):
    translator = Translator(model, LetterTokenizer(), max_length=8, path=path)
    texts = ["ab", *NOTHING, "cd"]
    found = translator.translate(texts)
    assert found[1:-1] == translator.translate([" "]) * len(NOTHING)
    assert found[1].hypotheses == [Hypothesis("", [], 0.0)]
    assert (found[1].text, found[1].finished, found[1].source_cut) == ("", True, False)
    assert [found[0], found[-1]] == translator.translate(["ab", "cd"])
    assert [one.text for one in translator.translate_iter(texts, 1)] == [one.text for one in found]


class Coded(LetterTokenizer):
    """Its texts begin with "->", which says a language; "z" has no token, "!" can't be read."""

    def has_text(self, text):
        return visible(text.removeprefix("->"))

    def encode(self, text):
        if "!" in text:
            raise KeyError("!")
        return super().encode(text.replace("z", ""))


def test_what_has_no_token_but_the_end_and_a_language_code_is_no_text(model):
    translator = Translator(model, Coded(), max_length=8)
    nothing = translator.translate([" "])
    assert translator.translate(["->", "->\u200b", "z", "zz z"]) == nothing * 4
    assert translator.translate(["->a"]) != nothing


@pytest.mark.parametrize("path", ["auto", "layers"])
def test_sources_without_an_end_token_are_translated_as_they_are(model, path):
    texts = ["abc", "", "ponm", "ab"]
    tokenizer = BareLetterTokenizer()
    translator = Translator(model, tokenizer, beam_size=2, max_length=8, path=path)
    found = translator.translate(texts)
    for text, one in zip(texts, found, strict=True):
        if text:
            source, fed = np.array([tokenizer.encode(text)]), [START, *one.hypotheses[0].tokens]
            logits = model({"source": source, "target": np.array([fed[:-1]])})
            log_probs = tf.nn.log_softmax(logits)[0].numpy()
            score = log_probs[np.arange(len(fed) - 1), fed[1:]].mean()
            assert one.hypotheses[0].score == pytest.approx(score, abs=1e-4)
    assert found[1].hypotheses == [Hypothesis("", [], 0.0)]
    by_ids = translator.translate_ids([tokenizer.encode(text) for text in texts if text])
    assert [one.hypotheses[0].tokens for one in by_ids] == [
        one.hypotheses[0].tokens for one, text in zip(found, texts, strict=True) if text
    ]
    with pytest.raises(ValueError, match=r"^Sentence 1 has no tokens\.$"):
        translator.translate_ids([[FIRST], []])
    with pytest.raises(ValueError, match=r"Sentence 0 has a token id outside"):
        translator.translate_ids([[FIRST, FIRST + len(LETTERS)]])


def test_a_source_without_an_end_token_is_cut_without_one(model):
    options = {"max_length": 8, "max_source_length": 6}
    translator = Translator(model, BareLetterTokenizer(), **options)
    with pytest.warns(UserWarning, match="Sentence 0 has 10 tokens; longer ones than 6 are cut"):
        (found,) = translator.translate(["abcdefghij"])
    assert found.source_cut
    assert found.hypotheses == translator.translate(["abcdef"])[0].hypotheses


class Forgetful(LetterTokenizer):
    """Its vocabulary lacks a token that the model produces."""

    def __init__(self, lacking):
        self.lacking = lacking

    def decode(self, ids):
        if self.lacking in ids:
            raise ValueError(f"Token id {self.lacking} is not in the target vocabulary.")
        return super().decode(ids)


def test_what_a_tokenizer_can_not_do_is_an_error_of_its_sentence(model):
    texts = random_texts(12)
    expected = results(model, texts)
    lacking = expected[3].hypotheses[0].tokens[0]
    translator = Translator(model, Forgetful(lacking), beam_size=3, max_length=12)
    fail = [i for i, one in enumerate(expected) if lacking in one.hypotheses[0].tokens]
    assert 0 < len(fail) < len(texts)
    with pytest.raises(SentenceError, match=rf"^Sentence {fail[0]} can't be detok.*id {lacking}"):
        translator(texts)
    with pytest.raises(ValueError, match="is not in the target vocabulary") as caught:
        translator.translate(texts)
    reason = f"it can't be detokenized: Token id {lacking} is not in the target vocabulary."
    assert caught.value.outcomes == [reason if i in fail else one for i, one in enumerate(expected)]
    with pytest.raises(
        SentenceError, match=r"^Sentence 1 can't be tokenized: KeyError: '!'\.$"
    ) as one:
        Translator(model, Coded(), beam_size=3, max_length=12).translate([texts[0], "!", " "])
    assert one.value.outcomes[0] == expected[0]
    assert one.value.outcomes[1] == "it can't be tokenized: KeyError: '!'"


@pytest.mark.parametrize("beam_size", [1, 3])
def test_both_engines_say_alike_what_ran_into_the_length_limit(model, beam_size):
    texts = random_texts(30)
    options = {"beam_size": beam_size, "num_hypotheses": beam_size, "return_scores": False}
    lengths = [
        len(h.tokens) for r in results(model, texts, max_length=24, **options) for h in r.hypotheses
    ]
    limit = sorted(lengths)[len(lengths) // 2]
    for path in ("auto", "layers"):
        found = results(model, texts, max_length=limit, path=path, **options)
        every = [h for one in found for h in one.hypotheses]
        assert {h.finished for h in every} == {True, False}
        assert all(h.finished == (len(h.tokens) < limit) for h in every)
        assert [one.finished for one in found] == [one.hypotheses[0].finished for one in found]


def test_a_tokenizer_with_ids_that_the_model_lacks_is_refused(model):
    tokenizer = LetterTokenizer()
    tokenizer.source_ids = range(FIRST + len(LETTERS) + 1)
    with pytest.raises(VocabularyError, match="does not fit the model"):
        Translator(model, tokenizer)


def test_unknown_characters_are_translated_like_any_other(model):
    translator = Translator(model, LetterTokenizer(), max_length=8)
    assert translator(["ab\u4f60\u597d", "\U0001f600"]) == translator(["ab??", "?"])


def test_an_error_in_a_stream_reaches_the_caller(model):
    translator = Translator(
        model, LetterTokenizer(), batch_size=2, streams=3, max_length=8, path="layers"
    )
    before = threading.active_count()
    original, engine.unpacked = engine.unpacked, None
    try:
        with pytest.raises(TypeError):
            translator(random_texts(12))
    finally:
        engine.unpacked = original
    assert threading.active_count() == before
    assert len(translator(random_texts(3))) == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"beam_size": 0}, ValueError, "beam_size"),
        ({"beam_size": 2.0}, TypeError, "beam_size"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"max_length": 0}, ValueError, "max_length"),
        ({"min_length": -1}, ValueError, "min_length"),
        ({"min_length": 9, "max_length": 8}, ValueError, "min_length"),
        ({"num_hypotheses": 5}, ValueError, "num_hypotheses"),
        ({"num_hypotheses": 0}, ValueError, "num_hypotheses"),
        ({"length_penalty": float("nan")}, ValueError, "length_penalty"),
        ({"streams": 0}, ValueError, "streams"),
        ({"streams": "many"}, TypeError, "streams"),
        ({"max_source_length": 0}, ValueError, "max_source_length"),
    ],
)
def test_wrong_settings_are_refused(model, options, error, message):
    with pytest.raises(error, match=message):
        Translator(model, LetterTokenizer(), **options)


def test_a_tokenizer_of_another_model_is_refused(model):
    class Other(LetterTokenizer):
        eos_id = 7

    with pytest.raises(ValueError, match="eos_id"):
        Translator(model, Other())


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("abc", TypeError, "list"),
        (["abc", None], TypeError, r"texts\[1\]"),
        ([b"abc"], TypeError, r"texts\[0\]"),
    ],
)
def test_wrong_texts_are_refused(model, texts, error, message):
    with pytest.raises(error, match=message):
        Translator(model, LetterTokenizer())(texts)


@pytest.mark.parametrize("ids", [[], [4], [4, 99, EOS], [-1, EOS]])
def test_wrong_ids_are_refused(model, ids):
    with pytest.raises(ValueError, match="Sentence 1"):
        Translator(model, None).translate_ids([[4, EOS], ids])


# ---- the trained model ----


@pytest.mark.slow
def test_the_trained_model_translates_as_in_transformers(shared_data):
    """2,000 sentences, greedy and beam 4: the tokens, and BLEU within 0.3 of the reference."""
    pytest.importorskip("safetensors")
    from keras_int8nmt.importers.marian import load_marian
    from keras_int8nmt.tokenizers.marian import MarianTokenizer

    folder, corpus = shared_data / "models" / "marian-tiny-en-de", shared_data / "tatoeba-ende"
    model, tokenizer = load_marian(folder, quant=False), MarianTokenizer(folder)
    texts, references = (
        (corpus / name).read_text(encoding="utf-8").split("\n")[:2000]
        for name in ("test.en", "test.de")
    )
    published = json.loads((folder / "reference" / "bleu.json").read_text(encoding="utf-8"))
    # The beam search of transformers goes on until no live hypothesis can win at any length.
    for name, beam_size, most_different in (("greedy", 1, 0.01), ("beam4", 4, 0.03)):
        found = Translator(model, tokenizer, beam_size=beam_size).translate(texts)
        ids = (folder / "reference" / f"{name}.ids").read_text(encoding="utf-8").split("\n")
        different = sum(
            result.hypotheses[0].tokens != [int(i) for i in line.split()]
            for result, line in zip(found, ids[:2000], strict=True)
        )
        bleu = sacrebleu.corpus_bleu([r.hypotheses[0].text for r in found], [references]).score
        print(f"{name}: {different} of 2000 lines differ, BLEU {bleu:.2f}")
        assert different <= most_different * 2000
        assert abs(bleu - published[f"first2000_{name}_transformers"]) < 0.3
