"""Translations of streams: `begin`, `translate_iter`, `map_dataset`, and the orders of sorting."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
import tensorflow as tf
from helpers.builtin_model import share_graph
from helpers.models import calibrate_on_sentences, tiny_model

from keras_int8nmt import MarianTokenizer, convert
from keras_int8nmt.runtime.batching import SORTS
from keras_int8nmt.storage.builtin import FOLDER, read_pairs
from keras_int8nmt.translation.translator import Translator

SENTENCES = [source for source, _ in read_pairs()[1]][:90]
SENTENCES[5] = " "


@pytest.fixture(scope="module")
def tokenizer():
    return MarianTokenizer(FOLDER)


@pytest.fixture(scope="module")
def model(tokenizer):
    """A tiny INT8 model: its answers do not depend on batches by a bit."""
    model = tiny_model(max_length=40)
    calibrate_on_sentences(model, tokenizer, SENTENCES[:4])
    return convert(model)


@pytest.fixture(params=["fast", "layers"])
def path(request, model):
    if request.param == "fast" and Translator(model, None).path != "fast":
        pytest.skip("no native library")
    return request.param


@pytest.fixture
def translator(model, tokenizer, path):
    with Translator(model, tokenizer, beam_size=2, max_length=9, batch_size=8, path=path) as made:
        yield made


def test_every_order_gives_the_same_answers(model, tokenizer, path, translator):
    expected = translator.translate(SENTENCES)
    for sort, tokens in itertools.product(SORTS, (1, 64)):
        other = Translator(
            model, tokenizer, beam_size=2, max_length=9, batch_size=8, path=path, sort=sort,
            max_batch_tokens=tokens,
        )  # fmt: skip
        if path == "layers":
            share_graph(translator, other)
        assert other.translate(SENTENCES) == expected
        other.close()


def test_words_can_not_be_counted_in_ids(model):
    with pytest.raises(ValueError, match="needs text"):
        Translator(model, None, sort="words").translate_ids([[5, 0]])
    with pytest.raises(ValueError, match="sort"):
        Translator(model, None, sort="letters")


def test_a_generator_gives_the_answers_of_a_list(translator):
    expected = translator.translate(SENTENCES)
    for window in (1, 7, 1000):
        lines = (sentence + "\n" for sentence in SENTENCES)
        assert list(translator.translate_iter(lines, window)) == expected
    assert list(translator.translate_iter(iter([]))) == []
    assert expected[0].text == expected[0].hypotheses[0].text


def test_a_generator_reads_no_more_than_it_needs(translator):
    read = itertools.count()
    endless = (f"Sentence {next(read)}." for _ in itertools.count())
    results = translator.translate_iter(endless, window=5)
    given = list(itertools.islice(results, 12))
    results.close()
    assert len(given) == 12
    assert next(read) <= 12 + 3 * 5
    # Nothing of it is left with the streams.
    assert len(translator.translate(SENTENCES[:3])) == 3


def test_what_is_begun_twice_is_finished_twice(translator):
    first, second = translator.begin(SENTENCES[:40]), translator.begin(SENTENCES[40:])
    done = []
    after = second.results(done.append)
    assert [*first.results(), *after] == translator.translate(SENTENCES)
    assert sum(done) == 50


def test_messages_call_a_sentence_by_the_name_that_it_is_given(model, tokenizer):
    long = "word " * 50
    translator, other = (Translator(model, tokenizer, max_length=9) for _ in range(2))
    with translator, pytest.warns(UserWarning, match=r"^in\.en, line 8, has \d+ tokens; longer"):
        translator.begin(["One.", " ", long], lambda i: f"in.en, line {i + 6},").results()
    with other, pytest.warns(UserWarning, match=r"^Sentence 2 has \d+ tokens; longer"):
        other.translate(["One.", " ", long])


def test_what_is_cancelled_is_gone(translator):
    before = threading.active_count()
    kept, dropped = translator.begin(SENTENCES), translator.begin(SENTENCES)
    dropped.cancel()
    dropped.cancel()
    assert kept.results() == translator.translate(SENTENCES)
    assert threading.active_count() == before


def test_closing_ends_what_nobody_waits_for(model, tokenizer):
    translator = Translator(model, tokenizer, max_length=9)
    if translator.path != "fast":
        pytest.skip("no native library")
    pending = translator.begin(SENTENCES)
    translator.close()
    with pytest.raises(RuntimeError, match="closed"):
        pending.results()


def test_a_dataset_of_sentences_becomes_one_of_translations(translator):
    expected = [result.text for result in translator.translate(SENTENCES)]
    dataset = tf.data.Dataset.from_tensor_slices(SENTENCES)
    mapped = translator.map_dataset(dataset, window=16)
    assert mapped.element_spec == dataset.element_spec
    assert mapped.cardinality() == len(SENTENCES)
    assert [text.decode() for text in mapped.as_numpy_iterator()] == expected
    batched = translator.map_dataset(dataset.batch(32))
    assert [len(batch) for batch in batched] == [32, 32, 26]
    assert [t.decode() for t in batched.unbatch().as_numpy_iterator()] == expected
    assert list(translator.map_dataset(dataset.take(0))) == []


def test_a_dataset_tells_what_went_wrong_where_it_is_asked_for(model, tokenizer):
    texts = ["One.", "\u200b", "word " * 50, "Two."]
    dataset = tf.data.Dataset.from_tensor_slices(texts)
    translator = Translator(model, tokenizer, max_length=9)
    with pytest.warns(match="are cut"):
        expected = translator.translate(texts)
    with pytest.warns(match="are cut"):
        (whole,) = translator.map_dataset(dataset.batch(4), marks=True)
    with pytest.warns(match="are cut"):
        (batch,) = translator.map_dataset(dataset, marks=True).batch(4)
    assert {key: str(column) for key, column in whole.items()} == {
        key: str(column) for key, column in batch.items()
    }
    assert [text.decode() for text in whole["translation"].numpy()] == [e.text for e in expected]
    assert whole["finished"].numpy().tolist() == [e.finished for e in expected]
    assert whole["source_cut"].numpy().tolist() == [False, False, True, False]


@pytest.mark.parametrize("elements", [np.arange(3), np.array([[["a"]]]), {"a": ["b"]}])
def test_a_dataset_of_something_else_is_refused(model, tokenizer, elements):
    with pytest.raises(TypeError, match="strings"):
        Translator(model, tokenizer).map_dataset(tf.data.Dataset.from_tensor_slices(elements))


@pytest.mark.parametrize("dataset", [["Good morning."], np.array(["Good morning."])])
def test_what_is_no_dataset_is_refused(model, tokenizer, dataset):
    with pytest.raises(TypeError, match=r"must be a tf\.data\.Dataset; it is a (list|ndarray)"):
        Translator(model, tokenizer).map_dataset(dataset)
