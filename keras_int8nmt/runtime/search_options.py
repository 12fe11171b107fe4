"""What a search is asked for: one value, checked here and handed on whole."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

from keras_int8nmt._arguments import MOST_INT32, flag, number, whole
from keras_int8nmt.runtime.no_repeat_ngram import NoRepeatNgram
from keras_int8nmt.runtime.token_filters import TokenFilter

# Memory of a sentence grows with the square of it.
MOST_BEAM = 1024
# 4,096 ** 10 is a float32, and so is a score of so many tokens that is divided by it.
MOST_LENGTH_PENALTY = 10.0

# Of those that are held with all their digits.
_LEAST_FLOAT32, _MOST_FLOAT32 = 2.0**-126, 2.0**127

# What the key of an unfinished output has always held; see `resume_key`.
_IN_EVERY_KEY = ("beam_size", "max_length", "length_penalty")


def _option(
    default: Any,
    *,
    least: int | None = None,
    most: int = MOST_INT32,
    help: str | None = None,
    makes: Callable[[Any], TokenFilter] | None = None,
    changes_answers: bool = True,
) -> Any:
    """A field of `SearchOptions`.

    Args:
        default: Its default, on the command line too.
        least: Of a whole number: the least that is allowed.
        most: Of a whole number: the most.
        help: What the command line says of it; None: it has no such option.
        makes: Of a number that stands for a token filter: makes it, unless the value is 0.
        changes_answers: Whether an output that was begun with another value can't be gone on with.
    """
    metadata = {"least": least, "most": most, "help": help, "makes": makes}
    return field(default=default, metadata={**metadata, "changes_answers": changes_answers})


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """The options of a search, as `Translator` documents them.

    Raises:
        TypeError: An option is of the wrong type.
        ValueError: An option is out of range.
    """

    beam_size: int = _option(
        4, least=1, most=MOST_BEAM, help="live hypotheses a sentence; 1 is greedy search"
    )
    num_hypotheses: int = _option(1, least=1, most=MOST_BEAM)
    max_length: int = _option(256, least=1, help="most tokens of a translation")
    min_length: int = _option(0, least=0)
    length_penalty: float = _option(1.0, help="exponent of the length that divides a score")
    return_scores: bool = _option(True, changes_answers=False)
    no_repeat_ngram_size: int = _option(
        0, least=0, help="no run of so many tokens occurs twice; 0: any may", makes=NoRepeatNgram
    )
    token_filters: tuple[TokenFilter, ...] = _option(())

    def __post_init__(self) -> None:
        for one in fields(self):
            value, least = getattr(self, one.name), one.metadata["least"]
            if least is not None:
                checked = whole(one.name, value, least, one.metadata["most"])
                object.__setattr__(self, one.name, checked)
        most = MOST_LENGTH_PENALTY
        penalty = number("length_penalty", self.length_penalty, -most, most)
        object.__setattr__(self, "length_penalty", penalty)
        object.__setattr__(self, "return_scores", flag("return_scores", self.return_scores))
        object.__setattr__(self, "token_filters", tuple(self.token_filters))
        if self.min_length > self.max_length:
            raise ValueError(
                f"`min_length` is {self.min_length}, more than the maximum length "
                f"{self.max_length}."
            )
        if self.num_hypotheses > self.beam_size:
            raise ValueError(
                f"`num_hypotheses` is {self.num_hypotheses}, more than `beam_size`, "
                f"{self.beam_size}."
            )
        for each in self.token_filters:
            if not isinstance(each, TokenFilter):
                raise TypeError(f"`token_filters` must be of TokenFilter; one is {each!r}.")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> SearchOptions:
        """The options among `arguments`, which may hold others as well."""
        names = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in arguments.items() if name in names})

    @classmethod
    def least(cls, name: str) -> int:
        """The least value of an option that is a whole number."""
        return next(int(one.metadata["least"]) for one in fields(cls) if one.name == name)

    def at_most(self, max_length: int) -> SearchOptions:
        """The same for a model whose sequences have at most `max_length` tokens."""
        return replace(self, max_length=min(self.max_length, max_length))

    def divisors(self) -> array[float]:
        """float32 `[max_length + 1]`: what a sum of n log-probabilities is divided by.

        Raises:
            ValueError: for a length whose divisor float32 has not, or has as 0.
        """
        lengths = range(self.max_length + 1)
        divisors = array("f", [float(max(n, 1)) ** self.length_penalty for n in lengths])
        if not _LEAST_FLOAT32 <= divisors[-1] <= _MOST_FLOAT32:
            raise ValueError(
                f"`length_penalty` is {self.length_penalty}, too far from 0 for a `max_length` of "
                f"{self.max_length}: float32 has no {self.max_length} ** {self.length_penalty}."
            )
        return divisors

    def filters(self) -> tuple[TokenFilter, ...]:
        """All token filters: those that numbers stand for, and `token_filters`."""
        return self._filters

    @cached_property
    def _filters(self) -> tuple[TokenFilter, ...]:
        made = []
        for one in fields(self):
            make, value = one.metadata["makes"], getattr(self, one.name)
            if make is not None and value:
                made.append(make(value))
        return (*made, *self.token_filters)

    def resume_key(self) -> dict[str, Any]:
        """What an unfinished output is compared by, JSON values: every option that matters.

        An option at its default is left out but for the first three, so that an output which was
        begun before there was such an option can be gone on with.
        """
        key = {}
        for one in fields(self):
            value = getattr(self, one.name)
            matters = one.metadata["changes_answers"] and value != one.default
            if one.name in _IN_EVERY_KEY or matters:
                key[one.name] = [repr(v) for v in value] if isinstance(value, tuple) else value
        return key


class CommandLineOption(NamedTuple):
    """A search option that the command line has too.

    Attributes:
        flag: Such as "--beam-size".
        default: Of `SearchOptions`.
        least: The least whole number; None of an option that is no whole number.
        most: The most.
        help: A few words, without the default.
        is_filter: Whether it stands for a token filter, which a SavedModel can't have.
    """

    flag: str
    default: Any
    least: int | None
    most: float
    help: str
    is_filter: bool


def command_line_options() -> list[CommandLineOption]:
    """The search options of the command line, in the order of the fields."""

    def option(one: Field[Any]) -> CommandLineOption:
        assert one.default is not MISSING
        word = "--" + one.name.replace("_", "-")
        most = MOST_LENGTH_PENALTY if one.metadata["least"] is None else one.metadata["most"]
        known = one.metadata
        is_filter = known["makes"] is not None
        return CommandLineOption(word, one.default, known["least"], most, known["help"], is_filter)

    return [option(one) for one in fields(SearchOptions) if one.metadata["help"] is not None]
