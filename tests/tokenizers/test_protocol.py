"""What is asked of any tokenizer, and what it need not say."""

from __future__ import annotations

from helpers.letters import EOS, FIRST, BareLetterTokenizer, LetterTokenizer

from keras_int8nmt.tokenizers.protocol import source_end, target_ids


def test_sources_end_with_the_end_token_unless_a_tokenizer_says_otherwise():
    assert source_end(LetterTokenizer(), EOS) == EOS
    assert source_end(None, EOS) == EOS
    assert source_end(BareLetterTokenizer(), EOS) is None


def test_targets_end_whatever_sources_do():
    ended = [FIRST, FIRST + 1, EOS]
    assert BareLetterTokenizer().encode("ab") == ended[:-1]
    for tokenizer in (LetterTokenizer(), BareLetterTokenizer()):
        assert target_ids(tokenizer, "ab", EOS) == ended


def test_a_tokenizer_with_a_method_for_targets_is_asked_by_it():
    class OfTwo(BareLetterTokenizer):
        def encode_target(self, text):
            return [FIRST + 3, EOS]

    assert target_ids(OfTwo(), "ab", EOS) == [FIRST + 3, EOS]
