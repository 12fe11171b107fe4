"""A model that is its spec and nothing more: what a folder on the run side holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from keras_int8nmt import native
from keras_int8nmt._memory import dtype_of, new_memory
from keras_int8nmt._threads import for_each
from keras_int8nmt.runtime.cores import usable_cores
from keras_int8nmt.runtime.gemm_choice import choose_gemm, int8_shapes
from keras_int8nmt.runtime.model_spec import ModelSpec
from keras_int8nmt.runtime.search_defaults import SearchDefaults
from keras_int8nmt.runtime.spec_file import SpecFileError

_TABLE = "source_embedding.table"
_SETTINGS = ("max_length", "pad_id", "eos_id", "start_id")


class SpecModel:
    """A `TranslationModel` of a spec with plain weights, which the native engine alone can run.

    Args:
        spec: With plain weights.
        precision: "int8", "float32" or "mixed", as its card says.
        done_with: Called with each plain weight once it is packed, by the thread that packed it.

    Raises:
        SpecFileError: when the spec lacks what a translator asks of it.
        RuntimeError: without the native library.
    """

    search_defaults = SearchDefaults()

    def __init__(
        self,
        spec: ModelSpec,
        precision: str,
        done_with: Callable[[memoryview], None] | None = None,
    ) -> None:
        missing = [name for name in _SETTINGS if not isinstance(spec.settings.get(name), int)]
        if _TABLE not in spec.tensors or len(spec.tensors[_TABLE].shape) != 2:
            missing.append(_TABLE)
        if missing:
            raise SpecFileError(f"The model spec lacks {', '.join(missing)}.")
        self.max_length, self.pad_id, self.eos_id, self.start_id = (
            int(spec.settings[name]) for name in _SETTINGS
        )
        self.precision = precision
        self.settings: Mapping[str, Any] = {
            **spec.settings,
            "source_vocabulary_size": spec.tensors[_TABLE].shape[0],
            "target_vocabulary_size": spec.settings.get("output_projection.columns"),
        }
        self._packed = packed_spec(spec, done_with)

    def native_refusal(self) -> str | None:
        return None

    def spec(self, packed: bool = True) -> ModelSpec:
        """The spec with packed weights; plain ones are not kept.

        Raises:
            ValueError: for plain ones.
        """
        if not packed:
            raise ValueError("A model of the run side keeps no plain weights; its folder has them.")
        return self._packed

    def weights_token(self) -> Any:
        return id(self._packed)

    def graph_engine(self, *_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(
            "This model was loaded without Keras and has no layers; load_folder gives a model that "
            "has them."
        )


def packed_spec(
    spec: ModelSpec, done_with: Callable[[memoryview], None] | None = None
) -> ModelSpec:
    """A spec with plain weights, packed for this CPU on all cores.

    Args:
        spec: With plain weights.
        done_with: See `SpecModel`.
    """

    # The largest first: the output projection would else be begun last and end alone.
    names = sorted(spec.weights, key=lambda name: -spec.tensors[name].nbytes)
    places: dict[str, memoryview] = {}
    choose_gemm(int8_shapes(spec))
    counts = [_packed_bytes(spec, name) for name in names]
    # One piece of memory for all: few large pages, and all of it is given back at once.
    memory, start = new_memory(sum(map(_rounded, counts))), 0
    for name, count in zip(names, counts, strict=True):
        places[name] = memory[start : start + count]
        start += _rounded(count)

    def pack(name: str) -> None:
        plain = spec.tensors[name]
        try:
            native.pack_into(plain, places[name])
        except ValueError as error:
            raise SpecFileError(f"The tensor {name} of the model spec: {error}") from error
        if done_with is not None:
            done_with(plain)

    for_each(pack, names, usable_cores())
    tensors = {name: places.get(name, tensor) for name, tensor in spec.tensors.items()}
    return ModelSpec(spec.settings, tensors)


def _packed_bytes(spec: ModelSpec, name: str) -> int:
    plain = spec.tensors[name]
    dtype, shape = dtype_of(plain), list(plain.shape)
    if dtype not in ("int8", "float32") or len(shape) != 2:
        raise SpecFileError(
            f"The tensor {name} of the model spec is {dtype} of shape {shape}; expected int8 or "
            "float32 [rows, columns]."
        )
    try:
        return native.packed_bytes(dtype, *shape)
    except ValueError as error:
        raise SpecFileError(f"The tensor {name} of the model spec: {error}") from error


def _rounded(count: int) -> int:
    """Packed weights begin where a line of the cache does."""
    return -(-count // 64) * 64
