"""Our own engines, in a release with a fast path and in one without."""

from __future__ import annotations

import pytest

from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.bench.translation.engines import UnavailableError, ours
from keras_int8nmt.bench.translation.engines.ours import Translators, make_translator, paths

JOB = Job(4, 32, 2, 0, 28, [[5, 1]])


class WithPath:
    """A Translator that can be told which path to take."""

    def __init__(self, model, tokenizer, *, path="auto", threads_per_stream=1, **search):
        if model == "foreign" and path == "fast":
            raise ValueError("no fast path for this model")
        self.path = "layers" if model == "odd" else path
        self.threads_per_stream, self.search = threads_per_stream, search


class WithoutPath:
    """One that can't."""

    def __init__(self, model, tokenizer, **search):
        self.search = search


def test_a_release_with_a_fast_path_is_told_to_take_it(monkeypatch):
    monkeypatch.setattr(ours, "Translator", WithPath)
    assert paths() == ("fast", "layers")
    translator = make_translator("model", JOB, "fast")
    assert (translator.path, translator.threads_per_stream) == ("fast", 1)
    assert translator.search == {
        "beam_size": 4,
        "batch_size": 32,
        "min_length": 0,
        "max_length": 28,
        "streams": 2,
        "return_scores": False,
    }
    with pytest.raises(UnavailableError, match="no fast path for this model"):
        make_translator("foreign", JOB, "fast")
    with pytest.raises(UnavailableError, match="takes the path 'layers'"):
        make_translator("odd", JOB, "fast")


def test_a_release_without_one_has_the_layer_path(monkeypatch):
    monkeypatch.setattr(ours, "Translator", WithoutPath)
    assert paths() == ("layers",)
    assert make_translator("model", JOB, "layers", streams=1).search["streams"] == 1
    with pytest.raises(UnavailableError, match="no native decoder"):
        make_translator("model", JOB, "fast")


def test_jobs_that_differ_in_sentences_alone_share_a_translator(monkeypatch):
    monkeypatch.setattr(ours, "Translator", WithPath)
    translators = Translators()
    first = translators.get("model", JOB, "layers")
    assert translators.get("model", Job(4, 32, 2, 0, 28, [[9, 1]]), "layers") is first
    assert translators.get("model", JOB.with_streams(1), "layers") is not first
