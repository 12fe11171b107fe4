"""Sinusoidal positions; NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def position_table(length: int, dim: int, encoding: str, first: int = 0) -> np.ndarray:
    """Sinusoidal positions (Vaswani et al. 2017, section 3.5), float32 `[length, dim]`.

    Args:
        length: Number of positions.
        dim: Number of columns; of `"marian"` even and at least 4.
        encoding: `"interleaved"`: sine in the even columns and cosine in the odd ones, as in the
            paper; `"half"`: all sines, then all cosines, as `transformers` has them for models of
            Marian; `"marian"`: likewise, of the frequencies that Marian trains with. The slowest
            wave is 2 pi 10000^(1 - 2/dim) positions long in the first two, and 2 pi 10000 there.
        first: The position of the first row.
    """
    column = np.arange(dim)
    steps = dim / 2 - 1 if encoding == "marian" else dim / 2
    positions = np.arange(first, first + length)[:, None]
    angles = positions / np.power(10000.0, (column // 2) / steps)
    table = np.where(column % 2 == 0, np.sin(angles), np.cos(angles))
    if encoding in ("half", "marian"):
        table = np.concatenate([table[:, 0::2], table[:, 1::2]], axis=1)
    return table.astype(np.float32)


def positions_of(settings: Mapping[str, Any]) -> np.ndarray:
    """The table of a model with these settings, float32 `[max_length, model_dim]`."""
    return position_table(
        settings["max_length"],
        settings["model_dim"],
        settings["position_encoding"],
        # Models that were saved before there was such a setting have none.
        settings.get("first_position", 0),
    )
