"""`AttentionSettings`: what the attention op is told beside its tensors, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from keras_int8nmt._arguments import MOST_INT32, whole
from keras_int8nmt.ops.checks import check_output
from keras_int8nmt.ops.integer_rules import require_arithmetic


@dataclass(frozen=True)
class AttentionSettings:
    """How `attention` computes; the meaning of each number is that in `int8_attention`.

    Attributes:
        num_heads, head_dim, value_dim: Heads lie side by side.
        scale: Factor from dot products to scores.
        softmax: "float", or "integer" as in `integer_rules`.
        out_scale, out_zero_point, out_dtype: How the context is written.
        causal: Whether query t attends to keys up to `offset + t` only.
        query_column, key_column, value_column: First column of the heads in each tensor.

    Raises:
        TypeError: for what is no number.
        ValueError: for a number or name that is not possible, with what was expected.
    """

    num_heads: int
    head_dim: int
    value_dim: int
    scale: float
    softmax: str = "float"
    out_scale: float = 1.0
    out_zero_point: int = 0
    out_dtype: str = "float32"
    causal: bool = False
    query_column: int = 0
    key_column: int = 0
    value_column: int = 0

    def __post_init__(self) -> None:
        for name in ("num_heads", "head_dim", "value_dim"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1, MOST_INT32))
        for name in ("query_column", "key_column", "value_column"):
            column = whole(name, getattr(self, name), -MOST_INT32, MOST_INT32)
            object.__setattr__(self, name, column)
        check_output(self.out_dtype, self.out_scale, self.out_zero_point)
        require_arithmetic("softmax", self.softmax)

    def check_columns(self, name: str, width: int | None) -> None:
        """Whether the heads of "query", "key" or "value" fit into `width` columns, if known."""
        column = getattr(self, f"{name}_column")
        dim = self.value_dim if name == "value" else self.head_dim
        if column < 0 or (width is not None and column + self.num_heads * dim > width):
            raise ValueError(
                f"`{name}` has {width} columns; {self.num_heads} heads of {dim} from column "
                f"{column} on do not fit."
            )
