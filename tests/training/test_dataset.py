"""`parallel_dataset`: what `fit` is given of two text files, and what it refuses."""

from __future__ import annotations

import gzip
import re
import warnings

import keras
import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
from helpers.letters import (
    EOS,
    FIRST,
    PAD,
    START,
    BareLetterTokenizer,
    LetterTokenizer,
    random_texts,
)
from helpers.models import TINY

from keras_int8nmt import KerasInt8nmtError, build_transformer, parallel_dataset
from keras_int8nmt.files.compression import CompressedFileError
from keras_int8nmt.files.lines import TextFileError
from keras_int8nmt.storage.builtin import FOLDER
from keras_int8nmt.tokenizers.fit import VocabularyError
from keras_int8nmt.training import CorpusError, SmoothedCrossEntropy

TOKENIZER = LetterTokenizer()
SOURCES, TARGETS = random_texts(200, seed=1), random_texts(200, seed=2)
SIZES = {
    "source_vocabulary_size": 20,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "model_dim": 32,
    "num_heads": 2,
    "ffn_dim": 64,
    "dropout": 0.0,
    "max_length": 24,
    "pad_id": PAD,
    "eos_id": EOS,
    "start_id": START,
}


def dataset(sources=SOURCES, targets=TARGETS, tokenizer=TOKENIZER, **options):
    options = {"batch_tokens": 128, "start_id": START, "seed": 3, **options}
    return parallel_dataset(sources, targets, tokenizer, **options)


def pairs_of(batch):
    """The texts of a batch, and that everything else of it is as it must be."""
    inputs, labels, weights = batch
    source, fed = inputs["source"], inputs["target"]
    assert source.dtype == fed.dtype == labels.dtype == np.int32
    assert weights.dtype == np.float32
    assert source.shape == fed.shape == labels.shape == weights.shape
    # Shifted: the decoder is fed what comes before.
    assert (fed[:, 0] == START).all()
    assert (fed[:, 1:] == labels[:, :-1]).all()
    found = []
    for ids, label, weight in zip(source, labels, weights, strict=True):
        length = int(weight.sum())
        assert weight.tolist() == [1.0] * length + [0.0] * (len(weight) - length)
        assert (label[length:] == PAD).all()
        if length:
            assert label[length - 1] == EOS
            found.append((TOKENIZER.decode(ids), TOKENIZER.decode(label)))
        else:
            assert (ids == PAD).all()
    return found


def batches(data):
    return [data[i] for i in range(len(data))]


def equal(one, other):
    arrays = [[np.asarray(a) for a in keras.tree.flatten(batch)] for batch in (one, other)]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(*arrays, strict=True))


def test_every_pair_is_there_once_and_targets_are_shifted():
    data = dataset()
    found = [pair for batch in batches(data) for pair in pairs_of(batch)]
    assert sorted(found) == sorted(zip(SOURCES, TARGETS, strict=True))
    assert found != list(zip(SOURCES, TARGETS, strict=True))
    assert data.counts == (200, 200, 0, 0)


def test_files_and_sentences_give_the_same_batches(tmp_path):
    source, target = tmp_path / "a.txt.gz", tmp_path / "b.txt"
    source.write_bytes(gzip.compress("".join(f"{s}\n" for s in SOURCES).encode()))
    # The last line may lack its end, and ends may be those of Windows.
    target.write_bytes("\r\n".join(TARGETS).encode())
    of_files, of_texts = dataset(source, str(target)), dataset()
    assert len(of_files) == len(of_texts)
    assert all(map(equal, batches(of_files), batches(of_texts)))


def test_no_batch_has_more_tokens_than_the_budget():
    for batch in batches(dataset(batch_tokens=64)):
        assert batch[1].size <= 64
    assert {batch[1].shape[0] for batch in batches(dataset(batch_tokens=1))} == {1}


def test_tf_data_gives_the_same_epochs():
    data = dataset()
    as_tf = data.as_tf_data()
    assert as_tf.cardinality() == len(data)
    assert as_tf.element_spec[1].shape.as_list() == [None, None]
    for number in range(3):
        data.epoch = number
        assert all(map(equal, as_tf, batches(data)))
    # Of the same seed the same again.
    data.epoch = 0
    assert all(map(equal, dataset().as_tf_data(), batches(data)))


class Recorder(keras.Model):
    """Notes what `fit` trains it on."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.built = True

    def train_step(self, data):
        self.seen.append(keras.tree.map_structure(np.asarray, data))
        return {"loss": tf.zeros(())}


def recorded(data, **options):
    model = Recorder()
    model.compile(run_eagerly=True)
    model.fit(data, verbose=0, shuffle=False, **options)
    return model.seen


@pytest.mark.parametrize("form", ["PyDataset", "threads", "tf.data"])
def test_fit_sees_one_epoch_after_the_other(form):
    data = dataset(batch_tokens=512, workers=2 if form == "threads" else 1)
    seen = recorded(data.as_tf_data() if form == "tf.data" else data, epochs=3)
    again, expected = dataset(batch_tokens=512), []
    for number in range(3):
        again.epoch = number
        expected += batches(again)
    assert len(seen) == len(expected)
    assert all(map(equal, seen, expected))


def test_an_epoch_in_parts_is_the_same_epoch():
    data = dataset(batch_tokens=512)
    epoch = batches(data)
    steps = len(data) // 2
    seen = recorded(data, epochs=2, steps_per_epoch=steps)
    assert all(map(equal, seen, epoch[: 2 * steps]))


def test_without_shuffle_all_epochs_are_one():
    data = dataset(shuffle=False)
    first = batches(data)
    data.epoch = 5
    assert all(map(equal, first, batches(data)))


def test_what_is_left_out_is_counted_and_told():
    sources = [*SOURCES[:5], "", "abc", "\u200b \t", "a" * 24, "b" * 23]
    targets = [*TARGETS[:5], "abc", "  ", "abc", "abc", "c" * 23]
    with pytest.warns(UserWarning, match="pairs are left out") as told:
        data = dataset(sources, targets, max_length=24)
    assert data.counts == (10, 6, 3, 1)
    assert str(told[0].message) == (
        "the sources: 4 of 10 pairs are left out: 3 without text (the first is line 6) and 1 of "
        "more than 24 tokens (the first is line 9)."
    )
    assert told[0].filename == __file__
    assert ("b" * 23, "c" * 23) in [pair for batch in batches(data) for pair in pairs_of(batch)]


def test_a_models_own_tokens_and_lengths_are_the_defaults():
    model = build_transformer(**SIZES)
    texts = ["a" * 23, "a" * 24]
    with pytest.warns(UserWarning, match="1 of more than 24 tokens"):
        data = parallel_dataset(texts, texts, TOKENIZER, model=model)
    inputs, labels, _ = data[0]
    assert inputs["target"][0, 0] == START
    assert labels.shape == (1, 24)
    with pytest.raises(ValueError, match="`max_length` must be at most 24; received 25"):
        parallel_dataset(texts, texts, TOKENIZER, model=model, max_length=25)
    # Without a model it is fed padding first, as in `build_transformer`.
    assert parallel_dataset(texts, texts, TOKENIZER)[0][0]["target"][0, 0] == PAD


class CountedLoss(SmoothedCrossEntropy):
    """Counts how often a graph is traced."""

    traced = 0

    def call(self, y_true, y_pred):
        self.traced += 1
        return super().call(y_true, y_pred)


def test_a_tokenizer_of_another_library_is_taken_as_it_is():
    processor = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / "source.spm"))
    texts = ["Good morning.", "It rains."]
    # Its model has an end and no padding, which is the model's.
    model = build_transformer(**{**SIZES, **TINY})
    inputs, labels, _ = parallel_dataset(texts, texts, processor, model=model)[0]
    for text, source, label in zip(texts, inputs["source"], labels, strict=True):
        ids = [*processor.encode(text), model.eos_id]
        assert source.tolist() == label.tolist() == ids + [model.pad_id] * (len(label) - len(ids))


def test_fit_lowers_the_loss_and_traces_one_graph_for_all_shapes():
    """To copy the letters; what is padding alone costs nothing and is no NaN."""
    keras.utils.set_random_seed(0)
    model = build_transformer(quant=False, **SIZES)
    data = dataset(SOURCES, SOURCES, model=model, batch_tokens=256, start_id=None)
    assert len(data._plan.shapes()) > 3
    loss, optimizer = CountedLoss(0.1), keras.optimizers.Adam(1e-2)
    # What makes variables is traced twice.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, loss)
    losses = model.fit(data, epochs=4, verbose=0, shuffle=False).history["loss"]
    assert losses[-1] < losses[0] - 0.2
    assert loss.traced == 1
    # The other form has the same spec, so the same graph serves.
    again = model.fit(data.as_tf_data(), epochs=2, verbose=0, shuffle=False).history["loss"]
    assert again[-1] < losses[-1]
    assert loss.traced == 1


def test_ids_take_two_bytes_and_four_where_they_must():
    class Wide(LetterTokenizer):
        def encode(self, text):
            return [i + 70_000 if text == "p" and i >= FIRST else i for i in super().encode(text)]

    narrow, wide = dataset(), dataset([*SOURCES, "p"], [*TARGETS, "a"], tokenizer=Wide())
    assert narrow._pairs.source[0].dtype == wide._pairs.target[0].dtype == np.uint16
    assert wide._pairs.source[0].dtype == np.int32
    ids = [i for batch in batches(wide) for i in batch[0]["source"].ravel()]
    assert max(ids) == 70_000 + FIRST + 15
    # Those before it are what they were.
    assert sorted(ids)[-2] == FIRST + 15


def test_sources_have_no_end_token_where_the_tokenizer_says_so():
    bare, ended = dataset(tokenizer=BareLetterTokenizer()), dataset()
    ends = [int((batch[0]["source"] == EOS).sum()) for batch in batches(bare)]
    assert sum(ends) == 0
    # Targets have theirs in any case.
    found = sorted(pair for batch in batches(bare) for pair in pairs_of(batch))
    assert found == sorted(pair for batch in batches(ended) for pair in pairs_of(batch))


# ---- what is refused


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def test_files_of_different_lengths_are_refused_with_both_counts(tmp_path):
    two, five = write(tmp_path, "two", b"a\nb\n"), write(tmp_path, "five", b"a\n" * 5)
    for source, target, counts in ((two, five, (2, 5)), (five, two, (5, 2))):
        message = f"{source} has {counts[0]} lines and {target} {counts[1]}; they must have as many"
        with pytest.raises(TextFileError, match=re.escape(message)):
            dataset(source, target)
    with pytest.raises(TextFileError, match="the sources has 1 lines and the targets 0"):
        dataset(["a"], [])


def test_files_that_are_no_text_are_named(tmp_path):
    good = write(tmp_path, "good", b"a\nb\n")
    with pytest.raises(TextFileError, match=r"latin, line 2: not UTF-8"):
        dataset(write(tmp_path, "latin", b"a\n\xfc\n"), good)
    with pytest.raises(TextFileError, match=r"wide, line 1: the file is UTF-16"):
        dataset(good, write(tmp_path, "wide", "a\nb\n".encode("utf-16")))
    with pytest.raises(CompressedFileError, match=r"cut.gz ends in the middle"):
        dataset(write(tmp_path, "cut.gz", gzip.compress(b"a\nb\n" * 100)[:-12]), good)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        dataset(good, tmp_path / "nowhere")
    with pytest.raises(TypeError, match="strings; number 2 of the targets is 5"):
        dataset(["a", "b"], ["a", 5])


def test_a_corpus_without_a_pair_is_refused(tmp_path):
    empty = write(tmp_path, "empty", b"")
    with pytest.raises(CorpusError, match=r"no pair to train on in .*empty and .*empty, of 0\.$"):
        dataset(empty, empty)
    message = "of 2: 1 are empty, 1 longer than 3 tokens."
    with pytest.raises(KerasInt8nmtError, match=re.escape(message)):
        dataset(["", "abc"], ["a", "a"], max_length=3)


class Strange(LetterTokenizer):
    def __init__(self, ids):
        self.ids = ids

    def encode(self, text):
        return self.ids


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([5, 6], "must give ids of which the last is `eos_id`, 1; it gives [5, 6]"),
        ([], "it gives []"),
        ([-5, EOS], "it gives [-5, 1]"),
        (["a"], "does not give ids"),
        ("a", "does not give ids"),
        (None, "does not give ids"),
        ([1 << 40, EOS], "does not give ids"),
    ],
)
def test_a_tokenizer_that_gives_no_ids_is_refused_with_the_line(ids, message):
    with pytest.raises(CorpusError, match="the sources, line 1: .*" + re.escape(message)):
        dataset(tokenizer=Strange(ids))


def test_a_tokenizer_of_another_model_is_refused():
    model = build_transformer(**SIZES)
    with pytest.raises(VocabularyError, match=r"gives the source id 99, and the .* below 20"):
        dataset(tokenizer=Strange([99, EOS]), model=model)
    other = LetterTokenizer()
    other.eos_id = 7
    with pytest.raises(VocabularyError, match="`eos_id` of the model is 1, of the tokenizer 7"):
        dataset(tokenizer=other, model=model)
    other.pad_id = other.encode
    with pytest.raises(TypeError, match="A LetterTokenizer is no tokenizer: it lacks pad_id"):
        dataset(tokenizer=other)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_tokens": 0},
        {"max_length": 0},
        {"start_id": -1},
        {"seed": -1},
        {"pad_to_multiple": 0},
    ],
)
def test_arguments_out_of_range_are_named(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be at least"):
        dataset(**options)


def test_nothing_is_told_where_nothing_is_left_out():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset()


def test_tf_data_repeats_into_the_next_epoch():
    data = dataset(batch_tokens=2048)
    found = list(data.as_tf_data().repeat(2))
    expected = batches(data)
    data.epoch = 1
    expected += batches(data)
    assert all(map(equal, found, expected))
    assert isinstance(found[0][1], tf.Tensor)
