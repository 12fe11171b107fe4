"""Token filters that a model's own settings ask for: sequences that are never produced, and a token
that comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keras_int8nmt._arguments import MOST_INT32, whole
from keras_int8nmt.runtime.token_filters import NativeFilter, TokenFilter

# Of all sequences together: each is compared in each step of each hypothesis.
MOST_BANNED = 100_000


@dataclass(frozen=True)
class NoSequences(TokenFilter):
    """Forbids the last token of a sequence after the others; of a single token always.

    Raises:
        TypeError: A token is no whole number.
        ValueError: A token is out of range, or a sequence is empty.
    """

    sequences: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        checked = tuple(
            tuple(whole("sequences", token, 0, MOST_INT32) for token in sequence)
            for sequence in self.sequences
        )
        if not all(checked) or sum(map(len, checked)) > MOST_BANNED:
            raise ValueError(f"`sequences` must have tokens, {MOST_BANNED} in all at most.")
        object.__setattr__(self, "sequences", checked)

    def forbidden(self, tokens: Sequence[int]) -> set[int]:
        return {
            sequence[-1]
            for sequence in self.sequences
            if tuple(tokens[len(tokens) - len(sequence) + 1 :]) == sequence[:-1]
            and len(sequence) <= len(tokens) + 1
        }

    def native(self) -> NativeFilter:
        numbers: list[int] = []
        for sequence in self.sequences:
            numbers += [len(sequence), *sequence]
        return NativeFilter("sequences", tuple(numbers))


@dataclass(frozen=True)
class FirstToken(TokenFilter):
    """Forbids all but one token at the beginning.

    Attributes:
        token: The one.
        vocabulary: How many there are.

    Raises:
        TypeError: A number is no whole number.
        ValueError: It is out of range.
    """

    token: int
    vocabulary: int

    def __post_init__(self) -> None:
        vocabulary = whole("vocabulary", self.vocabulary, 1, MOST_INT32)
        object.__setattr__(self, "vocabulary", vocabulary)
        object.__setattr__(self, "token", whole("token", self.token, 0, vocabulary - 1))

    def forbidden(self, tokens: Sequence[int]) -> set[int]:
        return set() if tokens else set(range(self.vocabulary)) - {self.token}

    def native(self) -> NativeFilter:
        return NativeFilter("first_token", (self.token, self.vocabulary))
