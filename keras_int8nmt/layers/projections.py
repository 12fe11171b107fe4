"""The MatMuls of an attention by their names, and which projections read one tensor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PROJECTIONS = ("query", "key", "value")
# The products of two tensors.
TENSOR_PRODUCTS = ("QK", "AV")
# All MatMuls of an attention, by the names that they have in a conversion report.
MATMULS = (*PROJECTIONS, *TENSOR_PRODUCTS, "attention_output")


@dataclass(frozen=True)
class ProjectionGroup:
    """Projections that read one tensor, in the order in which they lie side by side.

    Its text, the names joined by "_", stands for it in configs and before the names of stored
    weights: `str(group)` and `ProjectionGroup.parse`.

    Attributes:
        names: Some of PROJECTIONS.
    """

    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> ProjectionGroup:
        """The group of a text such as "query" or "key_value"."""
        return cls(tuple(text.split("_")))

    def __str__(self) -> str:
        return "_".join(self.names)


SELF_ATTENTION = (ProjectionGroup(PROJECTIONS),)
CROSS_ATTENTION = (ProjectionGroup(("query",)), ProjectionGroup(("key", "value")))
SEPARATE_INPUTS = tuple(ProjectionGroup((name,)) for name in PROJECTIONS)


def each_once(groups: Iterable[ProjectionGroup]) -> bool:
    """Whether `groups` name each of PROJECTIONS once."""
    return sorted(name for group in groups for name in group.names) == sorted(PROJECTIONS)
