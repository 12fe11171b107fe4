"""Arguments of public functions: what is no number of the kind, or out of range, is named.

A number that enters C is 32 or 64 bits wide there; nothing wraps, since every range ends before.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

# The most that a whole number of 32 bits holds.
MOST_INT32 = (1 << 31) - 1


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """`value` as an int, NumPy's whole numbers too.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is below `least` or above `most`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"`{name}` must be a whole number; received {value!r}.")
    number = int(value)
    if number < least or (most is not None and number > most):
        bound = f"at least {least}" if number < least else f"at most {most}"
        allowed = "" if most is None else f" The range is {least} to {most}."
        raise ValueError(f"`{name}` must be {bound}; received {_told(number)}.{allowed}")
    return number


def number(name: str, value: Any, least: float, most: float) -> float:
    """`value` as a float, NumPy's numbers too.

    Raises:
        TypeError: It is no number.
        ValueError: It is below `least`, above `most` or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number; received {value!r}.")
    # A whole number may be more than a float holds, so it is compared as it is.
    given: Any = value
    if not least <= given <= most:
        told = _told(given) if isinstance(given, int) else repr(given)
        finite = "" if isinstance(given, int) or math.isfinite(given) else "finite and "
        raise ValueError(f"`{name}` must be {finite}from {least} to {most}; received {told}.")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """`value` as a bool: True, False, NumPy's, 0 or 1.

    Raises:
        TypeError: It is anything else.
    """
    # NumPy's is called bool_ or bool, and is neither a bool nor a number to Python.
    is_bool = isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")
    if not is_bool and not (isinstance(value, Integral) and int(value) in (0, 1)):
        raise TypeError(f"`{name}` must be True or False; received {value!r}.")
    return bool(value)


def _told(value: int) -> str:
    """The number, or how many bits it has: Python writes out no more than 4,300 digits."""
    bits = value.bit_length()
    return str(value) if bits <= 256 else f"a number of {bits} bits"
