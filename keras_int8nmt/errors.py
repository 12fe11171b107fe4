"""The base of the package's errors."""

from __future__ import annotations


class KerasInt8nmtError(Exception):
    """What this package raises of its own: whoever calls it can mend what the message names.

    Each of these errors is one of Python's as well, mostly a `ValueError`. A wrong argument of a
    function is a plain `ValueError` or `TypeError` and none of these.

    Example:

        >>> try:
        ...     int8 = convert(load_folder("en-de")[0])
        ... except KerasInt8nmtError as error:
        ...     print(error)
    """
