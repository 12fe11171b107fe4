"""What a search must not produce next, said by the tokens that it has produced.

Three rules belong to the search itself and are no filters: padding is never produced, the end token
not before `min_length`, and at `max_length` nothing but the end token. A filter forbids more.
Where rules and filters together leave nothing, the end token is allowed after all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import NamedTuple


class NativeFilter(NamedTuple):
    """How the native decoder makes a filter of its own.

    Attributes:
        kind: A name in the table of `cc/decoder/token_filters.cc`.
        numbers: What that kind is made of.
    """

    kind: str
    numbers: tuple[int, ...]


class TokenFilter(ABC):
    """Forbids tokens; both engines give the same answers with it.

    A frozen dataclass is best: an unfinished output is gone on with where its `repr` is the same.
    """

    @abstractmethod
    def forbidden(self, tokens: Sequence[int]) -> Collection[int]:
        """Ids that must not follow.

        Args:
            tokens: Those that a hypothesis has so far, without the start token; maybe none.
        """

    def native(self) -> NativeFilter | None:
        """The same in the native decoder; None: it has no such thing, and the graph engine runs."""
        return None


def native_refusal(filters: Sequence[TokenFilter]) -> str | None:
    """Why the native decoder can't heed all of `filters`; None if it can."""
    without = [type(one).__name__ for one in filters if one.native() is None]
    return f"the native decoder has no token filter {', '.join(without)}" if without else None
