"""`KerasHubTokenizer`: stand-ins with the methods of KerasHub's layers, and the layers themselves.

KerasHub is no requirement of anything here; where it is installed, its own classes are tried, too.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.tokenizers import OUR_IDS, SENTENCES, OfSentencePiece, StandIn, sentencepiece_model

from keras_int8nmt.tokenizers.adapters import as_tokenizer
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.hugging_face import HuggingFaceTokenizer, bytes_bpe
from keras_int8nmt.tokenizers.keras_hub import KerasHubTokenizer
from keras_int8nmt.tokenizers.kinds import load_tokenizer
from keras_int8nmt.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from keras_int8nmt.tokenizers.word_piece import WordPieceTokenizer

VOCABULARY = json.loads(
    (Path(__file__).parents[1] / "data" / "keras_hub" / "word_piece.json").read_bytes()
)["vocabulary"]
TEXTS = [*SENTENCES, "The QUICK fox, 3.5% of it's text!", "", "a  b", "\u65e5\u672c \u00e9"]


class T5Tokenizer(OfSentencePiece):
    pad_token_id, end_token_id, start_token_id = 0, 1, 1


class OfWordPiece(StandIn):
    lowercase, strip_accents, split_on_cjk = True, False, True
    suffix_indicator, oov_token = "##", "[UNK]"

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self._rule = WordPieceTokenizer(vocabulary, pad_id=998, eos_id=999, lowercase=True)

    def ids(self, text):
        return self._rule.encode(text)[:-1]

    def detokenize(self, ids):
        return self._rule.decode(ids)

    def vocabulary_size(self):
        return len(self.vocabulary)


class OfBytes(StandIn):
    def __init__(self, words):
        from tokenizers import pre_tokenizers

        self.merges = ["\u0120 t", "h e", "\u0120t he", "c a", "ca t", "s ."]
        names = ["<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
        names += [merge.replace(" ", "") for merge in self.merges]
        self.vocabulary = {name: i for i, name in enumerate(names)}
        self.unsplittable_tokens, self.add_prefix_space = ["</s>"], False
        self._live = bytes_bpe(self.vocabulary, self.merges, ["</s>"], False, words)

    def ids(self, text):
        return self._live.encode(text).ids

    def detokenize(self, ids):
        return self._live.decode(ids)

    def vocabulary_size(self):
        return len(self.vocabulary)


def real(name, *arguments, **options):
    hub = pytest.importorskip("keras_hub", reason="KerasHub is not installed")
    return getattr(hub.tokenizers, name)(*arguments, **options)


def proto():
    return sentencepiece_model(**OUR_IDS)


LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
# What makes a layer, the id of its end, and what it is saved as.
CASES = {
    "SentencePiece": (lambda: OfSentencePiece(proto()), 1, SentencePieceTokenizer),
    "with a begin": (lambda: OfSentencePiece(proto(), True), 1, SentencePieceTokenizer),
    "T5": (lambda: T5Tokenizer(proto()), 1, SentencePieceTokenizer),
    "WordPiece": (lambda: OfWordPiece(VOCABULARY), 2, WordPieceTokenizer),
    "bytes": (lambda: OfBytes(None), 1, HuggingFaceTokenizer),
    "bytes as Llama 3": (lambda: OfBytes(LLAMA), 1, HuggingFaceTokenizer),
    "KerasHub's SentencePiece": (
        lambda: real("SentencePieceTokenizer", proto()),
        1,
        SentencePieceTokenizer,
    ),
    "KerasHub's WordPiece": (
        lambda: real("WordPieceTokenizer", vocabulary=VOCABULARY, lowercase=True),
        2,
        WordPieceTokenizer,
    ),
    "KerasHub's bytes": (
        lambda: real("BytePairTokenizer", OfBytes(None).vocabulary, OfBytes(None).merges),
        1,
        HuggingFaceTokenizer,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_layer_is_asked_and_saved_as_what_runs_without_it(case, tmp_path):
    make, end, kind = CASES[case]
    hub = make()
    tokenizer = as_tokenizer(hub, pad_id=0, eos_id=end)
    assert type(tokenizer) is KerasHubTokenizer
    assert (tokenizer.pad_id, tokenizer.eos_id) == (0, end)
    for text in TEXTS:
        ids = [int(i) for i in hub.tokenize(text)]
        assert tokenizer.encode(text) == [*ids, end]
        assert all(type(i) is int for i in tokenizer.encode(text))
        assert isinstance(tokenizer.decode(ids), str)
    assert set(tokenizer.source_ids) == set(range(hub.vocabulary_size()))
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path, [path.name for path in tmp_path.iterdir()])
    assert type(again) is kind
    for text in TEXTS:
        assert again.encode(text) == tokenizer.encode(text)
        assert again.decode(again.encode(text)) == tokenizer.decode(again.encode(text))


def test_ids_are_asked_for_where_the_layer_has_none():
    hub = OfWordPiece(VOCABULARY)
    with pytest.raises(TokenizerError, match=r"no `pad_token_id`: give KerasHubTok.*pad_id="):
        as_tokenizer(hub)
    with pytest.raises(TokenizerError, match="no `end_token_id`"):
        as_tokenizer(hub, pad_id=0)
    with pytest.raises(TokenizerError, match="same id 2"):
        as_tokenizer(hub, pad_id=2, eos_id=2)
    # A layer's own go first.
    own = as_tokenizer(T5Tokenizer(sentencepiece_model(**OUR_IDS)), pad_id=7, eos_id=8)
    assert (own.pad_id, own.eos_id) == (0, 1)


def test_a_layer_that_pads_is_refused():
    hub = OfWordPiece(VOCABULARY)
    hub.sequence_length = 5
    with pytest.raises(TokenizerError, match="pads and cuts to its `sequence_length`, 5"):
        as_tokenizer(hub, pad_id=0, eos_id=2)


def test_ends_that_a_layer_makes_of_a_text_are_no_ends():
    hub = T5Tokenizer(sentencepiece_model(**OUR_IDS))
    plain = as_tokenizer(hub).encode("the cat")
    hub.ids = lambda text: [1, *plain, 0, 0]
    assert as_tokenizer(hub).encode("the cat") == plain
    with pytest.raises(ValueError, match="Token id 5000 is not"):
        as_tokenizer(hub).decode([5000])


def test_what_would_be_another_tokenizer_is_not_saved(tmp_path):
    class Shifted(T5Tokenizer):
        """As XLM-RoBERTa's: the ids are not SentencePiece's."""

        def ids(self, text):
            return [i + 1 for i in super().ids(text)]

        def detokenize(self, ids):
            return super().detokenize([i - 1 for i in ids])

        def vocabulary_size(self):
            return super().vocabulary_size() + 1

    with pytest.raises(TokenizerError, match="A Shifted of KerasHub can't be saved: 'the cat sat"):
        as_tokenizer(Shifted(sentencepiece_model(**OUR_IDS))).save(tmp_path)

    class Bytes(OfWordPiece):
        vocabulary = None

        def __init__(self):
            super().__init__(VOCABULARY)
            self.vocabulary = None

        def vocabulary_size(self):
            return len(VOCABULARY)

    with pytest.raises(TokenizerError, match="has neither the `proto`"):
        as_tokenizer(Bytes(), pad_id=0, eos_id=2).save(tmp_path)
    assert not list(tmp_path.iterdir())
