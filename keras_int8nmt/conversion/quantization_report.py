"""What `quantize_model` replaces and what not, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from keras_int8nmt._tables import format_table


@dataclass(frozen=True)
class LayerRow:
    """One layer of the float model that multiplies by weights of its own, or holds a table.

    Attributes:
        path: Its path in the model, with a number behind it where Keras has the path twice.
        layer_type: The name of its class.
        quant_type: The name of the class that takes its place; empty where none does.
        reason: Why none does.
    """

    path: str
    layer_type: str
    quant_type: str = ""
    reason: str = ""


@dataclass(frozen=True)
class QuantizationReport:
    """The rows of `quantize_model`, in the order in which the model holds its layers."""

    rows: list[LayerRow] = field(default_factory=list)

    @property
    def replaced(self) -> list[LayerRow]:
        """The rows of layers that are replaced."""
        return [row for row in self.rows if row.quant_type]

    @property
    def left(self) -> list[LayerRow]:
        """The rows of layers that stay as they are."""
        return [row for row in self.rows if not row.quant_type]

    def to_text(self) -> str:
        """A plain table, one layer a line."""
        head = ("layer", "type", "becomes")
        body = [
            (row.path, row.layer_type, row.quant_type or f"- ({row.reason})") for row in self.rows
        ]
        return (
            f"{format_table([head, *body])}\n"
            f"{len(self.replaced)} of {len(self.rows)} layers are replaced"
        )
