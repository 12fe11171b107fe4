"""How `convert` makes INT8 out of float; which MatMul becomes it is `conversion_policy.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConversionOptions:
    """The keyword arguments of `convert` that every converter may need; see there.

    Raises:
        ValueError: for a value that is not known, with what was expected.
    """
