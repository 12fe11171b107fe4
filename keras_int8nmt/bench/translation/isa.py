"""One instruction set for all engines: the variables by which each library is held to it.

So a machine with AVX512-VNNI is measured as one without, for both sides. TensorFlow's own loops
that are not oneDNN's, and PyTorch's, take what the CPU has.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from keras_int8nmt import native
from keras_int8nmt.bench.errors import BenchError

# By our name of the set: CTranslate2's, oneDNN's (ours, CTranslate2's and TensorFlow's) and MKL's.
_NAMES: Mapping[str, tuple[str, str, str]] = {
    "avx512_vnni": ("AVX512", "AVX512_CORE_VNNI", "AVX512_E1"),
    "avx512": ("AVX512", "AVX512_CORE", "AVX512"),
    "avx_vnni": ("AVX2", "AVX2_VNNI", "AVX2_E1"),
    "avx2": ("AVX2", "AVX2", "AVX2"),
    "generic": ("GENERIC", "SSE41", "SSE4_2"),
}
_OURS = "KERAS_INT8NMT_ISA"
_VARIABLES = ("CT2_FORCE_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")

ISAS = tuple(_NAMES)


def forced(isa: str) -> dict[str, str]:
    """The variables that hold every library to the set `isa`, one of `ISAS`."""
    return {_OURS: isa, **dict(zip(_VARIABLES, _NAMES[isa], strict=True))}


def force(isa: str) -> dict[str, str]:
    """Sets them for this process and those that it starts; returns what it set.

    Raises:
        BenchError: where this CPU has not the set, or the native library is loaded already and
            runs on another.
    """
    variables = forced(isa)
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        info = native.info()
        if info["native"] and info["isa"] != isa:
            raise BenchError(f"The native library is loaded already, with {info['isa']}.")
    except (RuntimeError, BenchError) as error:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        raise BenchError(f"--isa {isa}: {error}") from error
    return variables
