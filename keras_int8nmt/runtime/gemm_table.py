"""What was measured of the INT8 back ends, for people and as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_int8nmt._tables import format_table
from keras_int8nmt.runtime.gemm_cache import Measured, Shape


def gemm_figures(measured: Mapping[Shape, Measured], rows: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each shape and candidate.

    Args:
        measured: By shape; one without times has one candidate alone and no row.
        rows: The counts of rows of inputs that were measured.

    Returns:
        `shape` ("512x2048": rows and columns of the weights), `back_end`, `chosen` (bool) and
        `gops`: 10^9 operations a second, a product and an addition being two, for each count of
        rows; None where the candidate was too far behind to be asked.
    """
    return [
        {
            "shape": f"{k}x{n}",
            "back_end": name,
            "chosen": name == each.fastest,
            "gops": {
                m: 2e-9 * m * k * each.columns / seconds if seconds else None
                for m, seconds in zip(rows, times, strict=True)
            },
        }
        for (k, n), each in measured.items()
        for name, times in each.seconds.items()
        if any(times)
    ]


def format_gemm(figures: Sequence[dict[str, Any]]) -> str:
    """`gemm_figures` as lines; the candidate that is taken has a star."""
    if not figures:
        return ""
    counts = list(figures[0]["gops"])
    head = ["weights", "back end", *(f"{m} row{'s' * (m > 1)}" for m in counts), ""]
    body = [
        [
            each["shape"],
            each["back_end"],
            *("-" if gops is None else f"{gops:.0f}" for gops in each["gops"].values()),
            "*" if each["chosen"] else "",
        ]
        for each in figures
    ]
    return format_table([head, *body])
