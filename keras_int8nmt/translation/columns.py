"""Columns of a batch as other libraries hand them over: read, and made of the same kind.

pandas and pyarrow are nobody's dependency here: whoever hands over one of their columns has
imported them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from keras_int8nmt.errors import KerasInt8nmtError


class BatchError(KerasInt8nmtError, ValueError):
    """A batch can't be translated; the message names the column and what is wrong."""


def column_of(batch: Any, name: str) -> Any:
    """A column of a batch.

    Args:
        batch: A mapping from names to columns, a pandas DataFrame, or a Table or RecordBatch of
            pyarrow.
        name: The column.

    Raises:
        TypeError: for another kind of batch.
        BatchError: where it has no such column, or that is no column.
    """
    if _home(batch) == "pyarrow" and hasattr(batch, "schema"):
        names = list(batch.schema.names)
    elif isinstance(batch, Mapping) or (_home(batch) == "pandas" and hasattr(batch, "columns")):
        names = list(batch)
    else:
        raise TypeError(
            "A batch must be a dict of columns, a pandas DataFrame, or a pyarrow Table or "
            f"RecordBatch; it is a {type(batch).__name__}."
        )
    if name not in names:
        there = ", ".join(map(repr, names)) or "none"
        raise BatchError(f"The batch has no column {name!r}; it has {there}.")
    column = batch[name]
    if isinstance(column, str | bytes) or not hasattr(column, "__len__"):
        raise BatchError(
            f"The column {name!r} must be of many rows; it is {type(column).__name__}. `map` of "
            "`datasets` hands over batches when it is told batched=True."
        )
    return column


def values_of(column: Any) -> list[Any]:
    """The rows of a column as values of Python; None where one is missing."""
    if _home(column) == "pyarrow":
        values = column.to_pylist()
    elif _home(column) in ("numpy", "pandas"):
        values = column.tolist()
    else:
        values = list(column)
    return [None if _is_missing(value) else value for value in values]


def with_columns(batch: Any, new: Mapping[str, tuple[type, Sequence[Any]]], like: Any) -> Any:
    """A batch of the same kind, with further columns, or others in the place of its own.

    Args:
        batch: As `column_of` takes it; it is left as it is.
        new: For each name the type of its values, str, float or bool, and the values, None where
            one is missing.
        like: The column whose kind they have.
    """
    made = {name: _column(like, kind, list(values)) for name, (kind, values) in new.items()}
    if _home(batch) == "pandas":
        return batch.assign(**made)
    if _home(batch) != "pyarrow":
        return {**{name: batch[name] for name in batch}, **made}
    columns = {**{name: batch.column(name) for name in batch.schema.names}, **made}
    return type(batch).from_arrays(list(columns.values()), names=list(columns))


def _column(like: Any, kind: type, values: list[Any]) -> Any:
    """A column of the kind of `like`: of its library, and of its index where it has one."""
    home = _home(like)
    if home == "pyarrow":
        pyarrow = sys.modules["pyarrow"]
        types = {str: pyarrow.string(), float: pyarrow.float64(), bool: pyarrow.bool_()}
        return pyarrow.array(values, types[kind])
    if home not in ("numpy", "pandas"):
        return values
    import numpy as np

    # Only float has a value for what is missing.
    plain = kind is float or (kind is bool and None not in values)
    array: Any = np.array(values, kind if plain else object)
    return array if home == "numpy" else sys.modules["pandas"].Series(array, index=like.index)


def _home(thing: Any) -> str:
    """The library that the class of a thing is of."""
    return type(thing).__module__.partition(".")[0]


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, float) and value != value)
        or type(value).__name__ in ("NAType", "NaTType")
    )
