"""Finds and loads the native core library, on first use and once; ctypes alone, no TensorFlow.

It is not used where it was not built, or with `KERAS_INT8NMT_NATIVE=0`; then `reason()` says why,
and the same layers run on stock TensorFlow operations, slower. A library that is there and does not
load is an error, never passed over in silence.

TensorFlow's ops are a library of their own beside it, which `ops/library.py` loads. `library` and
`require`, which users call to have the ops, are its functions.
"""

from __future__ import annotations

import ctypes
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_int8nmt._arguments import MOST_INT32, number, whole
from keras_int8nmt._faces import lazy_face
from keras_int8nmt._memory import address_of, dtype_of

if TYPE_CHECKING:
    import numpy as np

FOLDER = Path(__file__).resolve().parent / "_native"
SWITCH = "KERAS_INT8NMT_NATIVE"
_LIBRARY = FOLDER / "libkeras_int8nmt_core.so"
_ALIGNMENT = 64
MOST_THREADS = 1024
# Whether somebody has called `set_num_threads`.
_threads_are_told = False


class _Loaded(NamedTuple):
    """The outcome of the search: the library's functions, or why there are none."""

    reason: str | None = None
    functions: ctypes.CDLL | None = None
    info: dict[str, Any] | None = None


_lock = threading.Lock()
_loaded: _Loaded | None = None


def functions() -> ctypes.CDLL | None:
    """The library's C functions, or None if not used.

    Raises:
        RuntimeError: If the library is there but does not load, or can't run as
            `KERAS_INT8NMT_GEMM` and `KERAS_INT8NMT_ISA` ask.
        ValueError: If `KERAS_INT8NMT_NATIVE` is neither 0 nor 1.
    """
    return _load().functions


def require_functions() -> ctypes.CDLL:
    """`functions()`, where they must be there.

    Raises:
        RuntimeError: If the native library is not used, and why; else as in `functions`.
    """
    loaded = _load()
    if loaded.functions is None:
        raise RuntimeError(f"This needs the native library: {loaded.reason}.")
    return loaded.functions


def reason() -> str | None:
    """Why the native library is not used; None if it is."""
    return _load().reason


def info() -> dict[str, Any]:
    """What the ops run on.

    Returns:
        `native` (bool). If True, `library` (its path), `isa`, `gemm`, `gemm_way` (how that back
        end computes here; "pairs" and "split" where pairs of products saturate), `float_gemm`,
        `weight_bits` (see there) and `threads`; if False, `reason`.
    """
    loaded = _load()
    if loaded.functions is None:
        return {"native": False, "reason": loaded.reason}
    threads = loaded.functions.keras_int8nmt_num_threads()
    return {"native": True, "library": str(_LIBRARY), **(loaded.info or {}), "threads": threads}


def weight_bits() -> int:
    """Bits of the widest weights that INT8 products run at their best speed with: 8 or 7.

    7 where the back end adds products of uint8 and int8 in pairs in 16 bits that saturate, as
    oneDNN does without VNNI. Sums of 8-bit weights are exact there, too, but take two products.
    """
    return int(info().get("weight_bits", 8))


def set_num_threads(threads: int) -> None:
    """Threads that TensorFlow's ops share large work among; the results are the same bits.

    Until it is called there are as many as TensorFlow has within one of its own ops: the cores that
    this process may use, or what `tf.config.threading.set_intra_op_parallelism_threads` said before
    the ops were first used. oneDNN, where it is the back end, has threads of its own: as many, and
    one until this is called; MKL always has one. The native decoder has streams instead. Without
    the native library it does nothing.

    Raises:
        TypeError: If `threads` is no whole number.
        ValueError: If `threads` is below 1, or above 1024.
    """
    global _threads_are_told
    threads = whole("threads", threads, 1, MOST_THREADS)
    functions = _load().functions
    if functions is not None:
        functions.keras_int8nmt_set_num_threads(threads)
        _threads_are_told = True


def take_num_threads(threads: int) -> None:
    """`set_num_threads`, where nobody has called that."""
    if not _threads_are_told:
        set_num_threads(threads)


def int8_peak(seconds: float = 0.2) -> float:
    """What one core's INT8 instructions can do: 10^9 operations a second, measured now.

    A loop of the multiply-adds alone of the instruction set in force: vpdpbusd with AVX512-VNNI
    and AVX-VNNI; vpmaddubsw, vpmaddwd and vpaddd with AVX512 and AVX2; on ARM smmla, sdot, or
    smull, smlal and sadalp. A product and an addition are two operations. 0.0 without the native
    library, and where the set has no such instructions (generic).

    Raises:
        ValueError: If `seconds` is not from 0 to 60.
    """
    seconds = number("seconds", seconds, 0.0, 60.0)
    loaded = _load().functions
    return 0.0 if loaded is None else float(loaded.keras_int8nmt_int8_peak(seconds))


def gemm_choice() -> dict[str, Any]:
    """What the choice of an INT8 back end for each shape depends on.

    Returns:
        `measured`: whether back ends are measured: there may be several, and `KERAS_INT8NMT_GEMM`
        asks for none of them. `build`: the id of the library. `rows`: the counts of rows of inputs
        that are measured.

    Raises:
        RuntimeError: Without the native library.
    """
    return _told(require_functions().keras_int8nmt_gemm_choice())


def measure_gemm(k: int, n: int, seconds: float) -> dict[str, Any]:
    """Times the INT8 back ends of this CPU on products with weights `[k, n]`; chooses none.

    Args:
        k, n: The shape. Of wide weights some columns are multiplied; weights of more than 8 times
            as many columns as rows are taken for those of an output projection, whose product ends
            in the choice of the best columns.
        seconds: About how long it may take; oneDNN is loaded besides, once a process.

    Returns:
        `fastest`: the name of a back end. `columns`: how many were multiplied. `seconds`: by name
        the seconds of a product of each count of rows, 0.0 where it was too far behind to be asked.

    Raises:
        RuntimeError: Without the native library.
        ValueError: For weights that are empty or too large.
    """
    functions = require_functions()
    k, n = whole("k", k, 0, MOST_INT32), whole("n", n, 0, MOST_INT32)
    return _told(functions.keras_int8nmt_measure_gemm(k, n, number("seconds", seconds, 0.0, 60.0)))


def set_gemm(k: int, n: int, name: str) -> bool:
    """Has int8 weights `[k, n]` packed for the back end `name` from now on.

    Returns:
        Whether they will be: not where weights of that shape were packed already in this process,
        and not for a name that is no candidate here.

    Raises:
        RuntimeError: Without the native library.
    """
    return bool(require_functions().keras_int8nmt_choose_gemm(k, n, name.encode()))


def chosen_gemm(k: int, n: int) -> str:
    """The name of the back end that int8 weights `[k, n]` are packed for; it stays from then on.

    Raises:
        RuntimeError: Without the native library.
        ValueError: For weights that are empty or too large.
    """
    name = require_functions().keras_int8nmt_chosen_gemm(k, n)
    if name is None:
        raise ValueError(f"{require_functions().keras_int8nmt_last_error().decode()}.")
    return str(name.decode())


def _told(text: bytes | None) -> dict[str, Any]:
    if text is None:
        functions = require_functions()
        of_argument = functions.keras_int8nmt_last_error_is_of_argument()
        kind = ValueError if of_argument else RuntimeError
        raise kind(f"{functions.keras_int8nmt_last_error().decode()}.")
    told: dict[str, Any] = json.loads(text)
    return told


def packed_bytes(dtype: str, k: int, n: int) -> int:
    """Bytes that weights `[k, n]` of "int8" or "float32" take once they are packed.

    Raises:
        RuntimeError: Without the native library.
        ValueError: For weights that are empty or too large.
    """
    functions = require_functions()
    k, n = whole("k", k, 0, MOST_INT32), whole("n", n, 0, MOST_INT32)
    name = "packed_bytes" if dtype == "int8" else "packed_float_bytes"
    count = getattr(functions, f"keras_int8nmt_{name}")(k, n)
    if count < 0:
        raise ValueError(f"{functions.keras_int8nmt_last_error().decode()}.")
    return int(count)


def pack_into(weights: Any, packed: Any) -> None:
    """Packs weights as the products of the library read them on this CPU.

    Args:
        weights: int8 or float32 `[k, n]`, C-contiguous.
        packed: uint8 `[packed_bytes]`, written; begins at a multiple of 64 bytes.

    Raises:
        RuntimeError: Without the native library.
        ValueError: For weights that are empty, too large or, of int8, -128 somewhere.
    """
    functions = require_functions()
    pack = "pack" if dtype_of(weights) == "int8" else "pack_float"
    done = getattr(functions, f"keras_int8nmt_{pack}")(
        address_of(weights), *weights.shape, address_of(packed)
    )
    if not done:
        raise ValueError(f"{functions.keras_int8nmt_last_error().decode()}.")


def pack_weights(weights: np.ndarray) -> np.ndarray:
    """int8 weights `[k, n]` as the INT8 products of the library read them on this CPU: uint8 bytes.

    Raises:
        RuntimeError: Without the native library.
        ValueError: For weights that are empty, too large or -128 somewhere.
    """
    return _packed(weights, "int8")


def pack_float(weights: np.ndarray) -> np.ndarray:
    """float32 weights `[k, n]` as the float products of the library read them: uint8 bytes.

    Raises:
        RuntimeError: Without the native library.
        ValueError: For weights that are empty or too large.
    """
    return _packed(weights, "float32")


def _packed(weights: np.ndarray, dtype: str) -> np.ndarray:
    # Here: translating needs no NumPy.
    import numpy as np

    require_functions()
    if weights.ndim != 2 or weights.dtype != dtype:
        raise ValueError(
            f"weights are {weights.dtype.name} of shape {list(weights.shape)}; expected {dtype} "
            "[k, n]."
        )
    count = packed_bytes(dtype, *weights.shape)
    # Begins where a line of the cache does, as TensorFlow's tensors do.
    memory = np.empty(count + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    packed = memory[start : start + count]
    pack_into(np.ascontiguousarray(weights), packed)
    return packed


def _load() -> _Loaded:
    global _loaded
    if _loaded is None:
        with _lock:
            if _loaded is None:
                _loaded = _find()
    return _loaded


def _find() -> _Loaded:
    switch = os.environ.get(SWITCH, "")
    if switch not in ("", "0", "1"):
        raise ValueError(f"{SWITCH} is {switch!r}; choose 0 (stock operations only) or 1.")
    if switch == "0":
        return _Loaded(reason=f"{SWITCH}=0")
    if not _LIBRARY.is_file():
        return _Loaded(reason=f"this installation has no native library ({_LIBRARY})")
    return _open(_LIBRARY)


def _open(path: Path) -> _Loaded:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    signatures = {
        "info": (ctypes.c_char_p, []),
        "last_error": (ctypes.c_char_p, []),
        "num_threads": (ctypes.c_int, []),
        "set_num_threads": (None, [ctypes.c_int]),
        "last_error_is_of_argument": (ctypes.c_bool, []),
        "int8_peak": (ctypes.c_double, [ctypes.c_double]),
        "gemm_choice": (ctypes.c_char_p, []),
        "measure_gemm": (ctypes.c_char_p, [number, number, ctypes.c_double]),
        "choose_gemm": (ctypes.c_bool, [number, number, ctypes.c_char_p]),
        "chosen_gemm": (ctypes.c_char_p, [number, number]),
        "packed_bytes": (number, [number, number]),
        "pack": (ctypes.c_bool, [pointer, number, number, pointer]),
        "packed_float_bytes": (number, [number, number]),
        "pack_float": (ctypes.c_bool, [pointer, number, number, pointer]),
    }
    try:
        functions = ctypes.CDLL(str(path))
        for name, (result, arguments) in signatures.items():
            function = getattr(functions, f"keras_int8nmt_{name}")
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise RuntimeError(
            f"The native library {path} does not load: {error}. Install keras-int8nmt again, or "
            f"set {SWITCH}=0 to run on TensorFlow's own, slower operations."
        ) from error
    info = json.loads(functions.keras_int8nmt_info())
    if "error" in info:
        raise RuntimeError(f"The native library {path} can't be used: {info['error']}")
    return _Loaded(functions=functions, info=info)


# By name, when a user asks: the ops need TensorFlow, and this module serves where there is none.
__getattr__, __dir__ = lazy_face(
    __name__,
    {"library": "ops.library", "require": "ops.library"},
    present=[
        name
        for name, of in globals().items()
        if not name.startswith("_") and getattr(of, "__module__", "") == __name__
    ],
)
