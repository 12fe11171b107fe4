"""The tensors of a safetensors file; what a header is: `runtime.safetensors_header`."""

from __future__ import annotations

from pathlib import Path

from keras_int8nmt.importers.tensors import FLOAT_BYTES, Entry
from keras_int8nmt.importers.weights_file import WeightsFile
from keras_int8nmt.runtime.safetensors_header import LENGTH_BYTES, parse_header

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
assert set(_DTYPES.values()) == set(FLOAT_BYTES)


def read_safetensors(path: Path, error: type[Exception]) -> dict[str, Entry]:
    """The tensors of a file by their names; none is read yet.

    Raises:
        The `error`: for a file that is damaged, or holds other tensors than of floats.
    """
    file = WeightsFile(path, error)
    if file.size < LENGTH_BYTES:
        raise file.damaged(f"it has {file.size} bytes")
    length = int.from_bytes(file.read(0, LENGTH_BYTES), "little")
    header = parse_header(path, length, file.size, lambda: file.read(LENGTH_BYTES, length), error)
    start = LENGTH_BYTES + length
    entries = {}
    for name, (dtype, shape, begin, _) in header.items():
        if dtype not in _DTYPES:
            raise error(
                f"Tensor {name!r} of {path.name} is {dtype}; only {', '.join(_DTYPES)} are read."
            )
        entries[name] = file.entry(name, start + begin, shape, _DTYPES[dtype])
    return entries
