"""What `convert` did: each MatMul, INT8 or float and why, and what its thresholds cost."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from keras_int8nmt._tables import format_table
from keras_int8nmt._untrusted import parse_json


@dataclass(frozen=True)
class MatMulRow:
    """One MatMul of the model.

    Attributes:
        name: Path of the layer and the product in it, such as `decoder_0/self_attention/query_key`.
        kind: "weights" (one side is a weight matrix) or "dynamic" (QK^T and AV).
        precision: "int8" or "float32".
        reason: Why it stayed float, or which policy chose; empty where INT8 is the default.
        thresholds: `(low, high)` of the input; of both sides for a dynamic product. Empty, like the
            figures below, for a float product.
        input_sqnr_db: Signal to quantization noise of the input, from its histogram, in dB.
        clipped_mass: Share of the input's calibration values outside the thresholds.
        output_sqnr_db: The same ratio for the product's output, measured when `convert` is given a
            sample; else None.
        multiplications: For one batch entry; None where a length varies, and of the products of an
            attention, which are counted together.
    """

    name: str
    kind: str
    precision: str
    reason: str = ""
    thresholds: tuple[float, ...] = ()
    input_sqnr_db: float | None = None
    clipped_mass: float | None = None
    output_sqnr_db: float | None = None
    multiplications: int | None = None


@dataclass(frozen=True)
class Multiplications:
    """The multiplications of a converted model for one batch entry.

    Attributes:
        int8, float32: How many are in INT8 and in float, of the products that were counted.
        uncounted: How many products were not, since a length varies or a loop runs them.
    """

    int8: int = 0
    float32: int = 0
    uncounted: int = 0

    @property
    def int8_share(self) -> float | None:
        """Between 0 and 1; None where nothing was counted."""
        counted = self.int8 + self.float32
        return self.int8 / counted if counted else None


@dataclass(frozen=True)
class CodeExchange:
    """INT8 codes that go from one layer of a graph to others, where a float tensor would lie.

    Attributes:
        pattern: What makes them: "written by the product" (its epilogue), "written by the norm", or
            "quantized once" (of a float tensor that others may read, too).
        writer: The layer or operation that they come from.
        readers: The layers that read them.
        dtype: "int8" or "uint8".
    """

    pattern: str
    writer: str
    readers: tuple[str, ...]
    dtype: str


@dataclass
class ConversionReport:
    """The rows of `convert`, in the order of the model, and how many bits weights have.

    Of Sequential and Functional models `multiplications` tells how many are in INT8, and
    `exchanges` which layers exchange codes.
    """

    rows: list[MatMulRow] = field(default_factory=list)
    weight_bits: int = 8
    multiplications: Multiplications | None = None
    exchanges: list[CodeExchange] = field(default_factory=list)

    @property
    def precision(self) -> str:
        """ "int8", "float32", or "mixed" where some MatMuls stayed float."""
        found = {row.precision for row in self.rows}
        return found.pop() if len(found) == 1 else "mixed"

    def to_json(self) -> str:
        rows = [asdict(row) for row in self.rows]
        content: dict[str, Any] = {"weight_bits": self.weight_bits, "rows": rows}
        if self.multiplications is not None:
            content["multiplications"] = asdict(self.multiplications)
        if self.exchanges:
            content["exchanges"] = [asdict(one) for one in self.exchanges]
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str) -> ConversionReport:
        """The report that `to_json` wrote; ValueError names what is missing or unknown."""
        content = parse_json(text.encode("utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
            raise ValueError('A conversion report is a JSON object with a list "rows".')
        known = {f.name for f in fields(MatMulRow)}
        rows = []
        for row in content["rows"]:
            # Reports of earlier releases count no multiplications.
            if not isinstance(row, dict) or {*row, "multiplications"} != known:
                found = sorted(row) if isinstance(row, dict) else row
                raise ValueError(
                    f"A row of the report must have the keys {sorted(known)}; found {found}."
                )
            _check_row(row)
            rows.append(MatMulRow(**{**row, "thresholds": tuple(row["thresholds"])}))
        # Reports of earlier releases do not say it.
        bits = content.get("weight_bits", 8)
        if bits not in (7, 8):
            raise ValueError(f'"weight_bits" of the report must be 7 or 8; found {bits!r}.')
        counted = _multiplications(content.get("multiplications"))
        return cls(rows, bits, counted, _exchanges(content.get("exchanges", [])))

    def to_text(self) -> str:
        """A plain table, one MatMul a line."""
        head = ("MatMul", "kind", "precision", "thresholds", "SQNR dB", "clipped", "output dB")
        body = [
            (
                row.name,
                row.kind,
                row.precision + (f" ({row.reason})" if row.reason else ""),
                " ".join(f"{t:.4g}" for t in row.thresholds),
                _number(row.input_sqnr_db, ".1f"),
                _number(row.clipped_mass, ".2e"),
                _number(row.output_sqnr_db, ".1f"),
            )
            for row in self.rows
        ]
        int8 = sum(row.precision == "int8" for row in self.rows)
        summary = f"{int8} of {len(self.rows)} MatMuls in INT8, weights of {self.weight_bits} bits"
        if self.multiplications is not None:
            summary += _share_text(self.multiplications)
        lines = [
            f"{one.dtype} codes of {one.writer} ({one.pattern}) for {', '.join(one.readers)}"
            for one in self.exchanges
        ]
        return "\n".join([format_table([head, *body]), summary, *lines])


def _share_text(counted: Multiplications) -> str:
    text = ""
    if counted.int8_share is not None:
        total = counted.int8 + counted.float32
        text = f"; {100 * counted.int8_share:.1f} % of {total:,} multiplications a batch entry"
    if counted.uncounted:
        text += f"; {counted.uncounted} products not counted, since their lengths vary"
    return text


def _multiplications(content: Any) -> Multiplications | None:
    if content is None:
        return None
    known = {f.name for f in fields(Multiplications)}
    counts = isinstance(content, dict) and set(content) == known and content.values()
    if not counts or any(type(count) is not int or count < 0 for count in counts):
        raise ValueError(
            f'"multiplications" of the report must have counts of {sorted(known)}; found '
            f"{content!r}."
        )
    return Multiplications(**content)


def _exchanges(content: Any) -> list[CodeExchange]:
    if not isinstance(content, list) or not all(map(_is_exchange, content)):
        raise ValueError(
            '"exchanges" of the report must be a list of objects with the texts "pattern", '
            f'"writer", "dtype" and a list of texts "readers"; found {content!r}.'
        )
    return [CodeExchange(**{**one, "readers": tuple(one["readers"])}) for one in content]


def _is_exchange(one: Any) -> bool:
    if not isinstance(one, dict) or set(one) != {f.name for f in fields(CodeExchange)}:
        return False
    readers = one["readers"]
    return isinstance(readers, list) and all(
        isinstance(text, str) for text in (one["pattern"], one["writer"], one["dtype"], *readers)
    )


def _number(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)


def _check_row(row: dict[str, Any]) -> None:
    """Raises ValueError for a row whose values are not of the types of `MatMulRow`."""
    thresholds = row["thresholds"]
    right = (
        all(isinstance(row[name], str) for name in ("name", "kind", "precision", "reason"))
        and isinstance(thresholds, list)
        and all(map(_is_number, thresholds))
        and all(
            row[name] is None or _is_number(row[name])
            for name in ("input_sqnr_db", "clipped_mass", "output_sqnr_db")
        )
        and type(row.get("multiplications")) in (int, type(None))
    )
    if not right:
        raise ValueError(f"A row of the report has values of other types: {row}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
