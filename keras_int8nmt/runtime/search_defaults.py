"""What a model's own settings say of a search, where its caller says nothing.

A default of `Translator` and of the command line is a `ModelDefault`: a number like any other that
gives way to the model's word. What was given as an argument never does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from keras_int8nmt.runtime.search_options import SearchOptions
from keras_int8nmt.runtime.token_bans import FirstToken, NoSequences
from keras_int8nmt.runtime.token_filters import TokenFilter


class ModelDefault:
    """A value that gives way to the model's own."""


class _Whole(ModelDefault, int):
    pass


class _Number(ModelDefault, float):
    pass


class _Filters(ModelDefault, tuple[TokenFilter, ...]):
    pass


def of_model(value: Any) -> Any:
    """The same value, which gives way to the model's own."""
    kinds = {int: _Whole, float: _Number, tuple: _Filters}
    return kinds[type(value)](value)


class SearchDefaults(Mapping[str, Any]):
    """Some of the `SearchOptions` with values for one model; checked, and unchangeable.

    Args:
        values: Options by their names.

    Raises:
        TypeError: An option is of the wrong type, or there is none of its name.
        ValueError: An option is out of range.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        values = dict(values or {})
        # Of those that are not told nothing is asked here.
        ample = {"beam_size": values.get("num_hypotheses", 1)} | values
        options = SearchOptions(**{**ample, "max_length": values.get("max_length", 1 << 30)})
        self._values = {name: getattr(options, name) for name in values}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"SearchDefaults({self._values!r})"

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `from_json` makes the same."""
        content = dict(self._values)
        if filters := content.pop("token_filters", ()):
            content["token_filters"] = [_filter_to_json(one) for one in filters]
        return content

    @classmethod
    def from_json(cls, content: Any) -> SearchDefaults:
        """What `to_json` gave.

        Raises:
            ValueError: for anything else.
        """
        names = {one.name for one in fields(SearchOptions)}
        if not isinstance(content, dict) or not content.keys() <= names:
            raise ValueError("the defaults of its search are none")
        values = dict(content)
        try:
            if "token_filters" in values:
                values["token_filters"] = tuple(map(_filter_from_json, values["token_filters"]))
            return cls(values)
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"the defaults of its search are none: {error}") from error

    def resolved(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments with the model's word for those that nobody gave.

        Args:
            given: Options and other arguments by their names; those that are a `ModelDefault` give
                way.
        """
        found, ours = {}, set()
        for name, value in given.items():
            if isinstance(value, ModelDefault) and name in self._values:
                found[name] = self._values[name]
                ours.add(name)
            else:
                found[name] = value
        # What the model says does not stand against what was asked for.
        for name, bound in (("min_length", "max_length"), ("num_hypotheses", "beam_size")):
            if name in ours and bound in found and bound not in ours:
                found[name] = min(found[name], max(int(found[bound]), SearchOptions.least(name)))
        return found


def _filter_to_json(one: TokenFilter) -> dict[str, Any]:
    if isinstance(one, NoSequences):
        return {"no_sequences": [list(sequence) for sequence in one.sequences]}
    if isinstance(one, FirstToken):
        return {"first_token": [one.token, one.vocabulary]}
    raise TypeError(f"{type(one).__name__} is no filter that can be saved.")


def _filter_from_json(content: Any) -> TokenFilter:
    if isinstance(content, dict) and content.keys() == {"no_sequences"}:
        return NoSequences(tuple(map(tuple, content["no_sequences"])))
    if isinstance(content, dict) and content.keys() == {"first_token"}:
        return FirstToken(*content["first_token"])
    raise ValueError(f"there is no token filter {str(content)[:100]}")
