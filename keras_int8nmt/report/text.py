"""How a report writes numbers and names."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
# Where nothing was measured.
NOTHING = "\N{EN DASH}"

# Numbers between are written out.
_LEAST_PLAIN, _MOST_PLAIN = 1e-4, 1e7
_LEAST_SHARE, _LEAST_P = 1e-6, 1e-3
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def group_of(path: str) -> tuple[str, str]:
    """The block that a tensor is in and its name there, from its path.

    Example:

        >>> group_of("marian/encoder_block_0/ffn_in/input_observer")
        ('encoder_block_0', 'ffn_in/input_observer')
    """
    _, *parts = path.split("/")
    return (parts[0], "/".join(parts[1:])) if len(parts) > 1 else ("model", path)


def number_text(number: float | None, digits: int = 4) -> str:
    """A number with so many digits; of very large and very small ones with a power of ten.

    Example:

        >>> [number_text(n) for n in (0.12345, 2.0, 12345.6)]
        ['0.1235', '2.000', '12,346']
    """
    if number is None:
        return NOTHING
    if number == 0:
        return "0"
    if math.isinf(number):
        return "∞" if number > 0 else f"{MINUS}∞"
    size = abs(number)
    if not _LEAST_PLAIN <= size < _MOST_PLAIN:
        text, _, power = f"{number:.{digits - 1}e}".partition("e")
        text = f"{text}{TIMES}10{str(int(power)).translate(_RAISED)}"
    elif size >= 10 ** (digits - 1):
        text = f"{number:,.0f}"
    else:
        text = f"{number:#.{digits}g}".removesuffix(".")
    return text.replace("-", MINUS)


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
    if 0 < share < _LEAST_SHARE:
        return f"under {100 * _LEAST_SHARE:g} %"
    return f"{number_text(100 * share, 3)} %"


def p_text(p: float | None) -> str:
    """A probability of a test, three decimals."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < _LEAST_P else f"{p:.3f}"


def megabytes(size: int) -> str:
    """Bytes in 10^6."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def short_count(count: float) -> str:
    """1, 100, 10k, 1M, 1G."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"
