"""What a search is asked for: one value, checked here and handed on whole."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from numbers import Integral
from typing import Any, NamedTuple

from keras_int8nmt.runtime.no_repeat_ngram import NoRepeatNgram
from keras_int8nmt.runtime.token_filters import TokenFilter

# What the key of an unfinished output has always held; see `resume_key`.
_IN_EVERY_KEY = ("beam_size", "max_length", "length_penalty")


def whole(name: str, value: Any, least: int) -> int:
    """`value` as an int.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"`{name}` must be a whole number; received {value!r}.")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}; received {value}.")
    return int(value)


def _option(
    default: Any,
    *,
    least: int | None = None,
    help: str | None = None,
    makes: Callable[[Any], TokenFilter] | None = None,
    changes_answers: bool = True,
) -> Any:
    """A field of `SearchOptions`.

    Args:
        default: Its default, on the command line too.
        least: Of a whole number: the least that is allowed.
        help: What the command line says of it; None: it has no such option.
        makes: Of a number that stands for a token filter: makes it, unless the value is 0.
        changes_answers: Whether an output that was begun with another value can't be gone on with.
    """
    metadata = {"least": least, "help": help, "makes": makes, "changes_answers": changes_answers}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """The options of a search, as `Translator` documents them.

    Raises:
        TypeError: An option is of the wrong type.
        ValueError: An option is out of range.
    """

    beam_size: int = _option(4, least=1, help="live hypotheses a sentence; 1 is greedy search")
    num_hypotheses: int = _option(1, least=1)
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
                object.__setattr__(self, one.name, whole(one.name, value, least))
        object.__setattr__(self, "length_penalty", float(self.length_penalty))
        object.__setattr__(self, "return_scores", bool(self.return_scores))
        object.__setattr__(self, "token_filters", tuple(self.token_filters))
        if self.min_length > self.max_length:
            raise ValueError(
                f"`min_length` is {self.min_length}, more than the maximum length "
                f"{self.max_length}."
            )
        if not math.isfinite(self.length_penalty):
            raise ValueError(f"`length_penalty` must be finite; received {self.length_penalty!r}.")
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

    def at_most(self, max_length: int) -> SearchOptions:
        """The same for a model whose sequences have at most `max_length` tokens."""
        return replace(self, max_length=min(self.max_length, max_length))

    def divisors(self) -> array[float]:
        """float32 `[max_length + 1]`: what a sum of n log-probabilities is divided by."""
        lengths = range(self.max_length + 1)
        return array("f", [float(max(n, 1)) ** self.length_penalty for n in lengths])

    def filters(self) -> tuple[TokenFilter, ...]:
        """All token filters: those that numbers stand for, and `token_filters`."""
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
        help: A few words, without the default.
    """

    flag: str
    default: Any
    least: int | None
    help: str


def command_line_options() -> list[CommandLineOption]:
    """The search options of the command line, in the order of the fields."""

    def option(one: Field[Any]) -> CommandLineOption:
        assert one.default is not MISSING
        flag = "--" + one.name.replace("_", "-")
        return CommandLineOption(flag, one.default, one.metadata["least"], one.metadata["help"])

    return [option(one) for one in fields(SearchOptions) if one.metadata["help"] is not None]
