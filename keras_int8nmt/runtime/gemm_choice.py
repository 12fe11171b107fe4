"""Which INT8 back end the weights of a shape are packed for: measured once a machine, then kept.

All back ends give the same bits, so the choice is one of time alone. It is made by the shape of the
weights, which are packed for one back end: `cc/kernels/gemm/choice.cc` times each candidate on
products of that shape with 1, 8, 32 and 128 rows of inputs, and the smallest mean wins. What was
measured is kept in a file (`gemm_cache.py`), so that the next process measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from keras_int8nmt import native
from keras_int8nmt._memory import dtype_of
from keras_int8nmt.runtime.forks import ForkSafeLock
from keras_int8nmt.runtime.gemm_cache import GemmCache, Measured, Shape
from keras_int8nmt.runtime.model_spec import ModelSpec

# Of one shape, of about six that a model has: under 50 ms for Transformer base with the 15 that it
# takes to load oneDNN.
_SECONDS = 0.004
# Shapes that a process measures; those after them have the back end that there would be without.
_MOST_MEASURED = 64

_lock = ForkSafeLock()
_settled: dict[Shape, Measured | None] = {}
_cache: GemmCache | None = None
_measured = 0


def choose_gemm(shapes: Iterable[Shape]) -> None:
    """Settles what int8 weights of these shapes `[rows, columns]` are packed for.

    To be called before they are packed: the first packing of a shape settles it, too. Nothing is
    read, written or measured where there is one candidate alone.
    """
    wanted = [shape for shape in dict.fromkeys(shapes) if shape not in _settled]
    if not wanted or native.functions() is None:
        return
    with _lock:
        if not native.gemm_choice()["measured"]:
            _settled.update(dict.fromkeys(wanted))
            return
        known = _recalled()
        found = {shape: known.get(shape) or _measure(shape) for shape in wanted}
        _settled.update(found)
        fresh = {s: each for s, each in found.items() if each is not None and s not in known}
        if fresh and _cache is not None:
            _cache.add(fresh)
        for shape, each in found.items():
            if each is not None:
                native.set_gemm(*shape, each.fastest)


def int8_shapes(spec: ModelSpec) -> list[Shape]:
    """The shapes of a spec's plain int8 weights, each once, in their order."""
    plain = [spec.tensors[name] for name in spec.weights]
    # Of what has no shape of weights, the packing tells.
    shapes = [tuple(t.shape) for t in plain if dtype_of(t) == "int8" and len(t.shape) == 2]
    return list(dict.fromkeys((int(k), int(n)) for k, n in shapes))


def recall_gemm() -> None:
    """Settles all shapes that were measured on this machine before; measures none.

    For weights that are packed without anybody's asking, as those of a SavedModel are.
    """
    if native.functions() is None:
        return
    with _lock:
        if not native.gemm_choice()["measured"]:
            return
        for shape, each in _recalled().items():
            if shape not in _settled:
                _settled[shape] = each
                native.set_gemm(*shape, each.fastest)


def measured_gemm() -> dict[Shape, Measured]:
    """What is known of this machine, measured now or earlier, by shape."""
    if native.functions() is None or not native.gemm_choice()["measured"]:
        return {}
    with _lock:
        found = {shape: each for shape, each in _settled.items() if each is not None}
        return {**_recalled(), **found}


def _recalled() -> dict[Shape, Measured]:
    """What the file knows of this machine. With the lock."""
    global _cache
    if _cache is None:
        _cache = GemmCache.of_this_machine()
    return _cache.known


def _measure(shape: Shape) -> Measured | None:
    """Times the candidates; None where there is nothing to measure. With the lock."""
    global _measured
    if _measured >= _MOST_MEASURED:
        return None
    _measured += 1
    try:
        told = native.measure_gemm(*shape, _SECONDS)
    except (ValueError, RuntimeError):
        # Whoever packs such weights is told what is wrong with them.
        return None
    return Measured(
        told["fastest"],
        told["columns"],
        {name: tuple(map(float, times)) for name, times in told["seconds"].items()},
    )
