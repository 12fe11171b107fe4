"""Memory that C reads and writes, without NumPy: importing it would take most of a short start.

Arrays are whatever has the buffer protocol: NumPy's where NumPy is used anyway, memoryviews else.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

_DTYPES = {"f": "float32", "b": "int8", "B": "uint8"}
# Huge pages spare the processor most of the work of finding a page of the weights.
_HUGE = 2 << 20


def is_array(value: Any) -> bool:
    """Whether it is a NumPy array or a memoryview of one dimension or more; scalars are none."""
    return getattr(value, "ndim", 0) > 0


def dtype_of(array: Any) -> str | None:
    """ "float32", "int8" or "uint8"; None for what is no array, or one of anything else."""
    try:
        return _DTYPES.get(memoryview(array).format) if is_array(array) else None
    except ValueError:  # NumPy's, for elements that no other language has
        return None


def address_of(array: Any) -> int:
    """Where the first element lies; the memory stays there as long as `array` does."""
    # NumPy's may be read-only, which ctypes takes no address of.
    numpy_address = getattr(array, "ctypes", None)
    if numpy_address is not None:
        return int(numpy_address.data)
    return ctypes.addressof(ctypes.c_char.from_buffer(array)) if memoryview(array).nbytes else 0


def new_memory(count: int) -> memoryview:
    """uint8 `[count]` of zeros at the start of a page; given back whole when nobody uses it."""
    memory = mmap.mmap(-1, max(count, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if count >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)[:count]
