"""Rows of benchmarks as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_int8nmt.tables import format_table

_HEAD = ("name", "case", "ours", "peer", "unit", "ratio", "spread", "")


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each row; it ends with its note, or with the reason why it has no figure."""
    body = [
        (
            row["name"],
            row["case"],
            _figure(row["ours"]),
            _figure(row["peer"]),
            row["unit"],
            "-" if row["ratio"] is None else f"{row['ratio']:.2f}x",
            "-" if row["spread"] is None else f"{100 * row['spread']:.0f} %",
            row.get("reason") or row.get("note", ""),
        )
        for row in rows
    ]
    return format_table([_HEAD, *body])


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
