"""Rows of benchmarks as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_int8nmt._tables import format_table

_HEAD = ("name", "case", "ours", "peer", "unit", "ratio", "spread", "")


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each row; it ends with its note, its speed, or why it has no figure."""
    body = [
        (
            row["name"],
            row["case"],
            _figure(row["ours"]),
            _figure(row["peer"]),
            row["unit"],
            "-" if row["ratio"] is None else f"{row['ratio']:.2f}x",
            "-" if row["spread"] is None else f"{100 * row['spread']:.0f} %",
            _remark(row),
        )
        for row in rows
    ]
    return format_table([_HEAD, *body])


def _remark(row: dict[str, Any]) -> str:
    if "gops" in row:
        percent = row.get("percent_of_int8_peak")
        share = "" if percent is None else f", {percent:.0f} % of the INT8 peak"
        if "percent_in_fastest_turn" in row:
            share += f", {row['percent_in_fastest_turn']:.0f} % in the fastest turn"
        return f"{row['gops']:.0f} GOP/s{share}"
    return str(row.get("reason") or row.get("note", ""))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
