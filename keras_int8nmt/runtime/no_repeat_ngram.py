"""The option `no_repeat_ngram_size`: no run of n generated tokens occurs twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keras_int8nmt._arguments import MOST_INT32, whole
from keras_int8nmt.runtime.token_filters import NativeFilter, TokenFilter


@dataclass(frozen=True)
class NoRepeatNgram(TokenFilter):
    """Forbids the token that would end a run of `size` tokens which has occurred before.

    Raises:
        TypeError: `size` is no whole number.
        ValueError: `size` is out of range.
    """

    size: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole("size", self.size, 1, MOST_INT32))

    def forbidden(self, tokens: Sequence[int]) -> set[int]:
        context = self.size - 1
        last = list(tokens[len(tokens) - context :])
        return {
            tokens[end]
            for end in range(context, len(tokens))
            if list(tokens[end - context : end]) == last
        }

    def native(self) -> NativeFilter:
        return NativeFilter("no_repeat_ngram", (self.size,))
