"""How a report writes numbers and names."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
# Where nothing was measured.
NOTHING = "\N{EN DASH}"


def group_of(path: str) -> tuple[str, str]:
    """The block that a tensor is in and its name there, from its path.

    Example:

        >>> group_of("marian/encoder_block_0/ffn_in/input_observer")
        ('encoder_block_0', 'ffn_in/input_observer')
    """
    _, *parts = path.split("/")
    return (parts[0], "/".join(parts[1:])) if len(parts) > 1 else ("model", path)


def number_text(number: float | None) -> str:
    """Four digits."""
    return NOTHING if number is None else f"{number:.4g}".replace("-", MINUS)


def between(low: float, high: float) -> str:
    """A range."""
    return f"{number_text(low)} … {number_text(high)}"


def signed(number: float, digits: int = 2) -> str:
    """A difference with its sign, and no sign where it rounds to zero."""
    text = f"{number:+.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text.replace("-", MINUS)


def decibels(number: float | None) -> str:
    """One decimal; infinity where there is no noise."""
    if number is None:
        return NOTHING
    return "∞" if math.isinf(number) else f"{number:.1f}".replace("-", MINUS)


def percent(share: float | None) -> str:
    """A share of 1 in per cent, three digits."""
    if share is None:
        return NOTHING
    return "0 %" if share == 0 else f"{100 * share:.3g} %"


def short_count(count: float) -> str:
    """1, 100, 10k, 1M, 1G."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"
