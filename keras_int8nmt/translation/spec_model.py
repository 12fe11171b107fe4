"""A model that is its spec and nothing more: what a folder on the run side holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import numpy as np

from keras_int8nmt import native
from keras_int8nmt.runtime.cores import usable_cores
from keras_int8nmt.runtime.model_spec import ModelSpec
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

    def __init__(
        self,
        spec: ModelSpec,
        precision: str,
        done_with: Callable[[np.ndarray], None] | None = None,
    ) -> None:
        missing = [name for name in _SETTINGS if not isinstance(spec.settings.get(name), int)]
        if _TABLE not in spec.tensors or spec.tensors[_TABLE].ndim != 2:
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
    spec: ModelSpec, done_with: Callable[[np.ndarray], None] | None = None
) -> ModelSpec:
    """A spec with plain weights, packed for this CPU on all cores.

    Args:
        spec: With plain weights.
        done_with: See `SpecModel`.
    """

    def pack(name: str) -> np.ndarray:
        plain = spec.tensors[name]
        pack_one = native.pack_weights if plain.dtype == np.int8 else native.pack_float
        try:
            packed = pack_one(plain)
        except ValueError as error:
            raise SpecFileError(f"The tensor {name} of the model spec: {error}") from error
        if done_with is not None:
            done_with(plain)
        return packed

    # The largest first: the output projection would else be begun last and end alone.
    names = sorted(spec.weights, key=lambda name: -spec.tensors[name].nbytes)
    with ThreadPoolExecutor(usable_cores()) as threads:
        packed = dict(zip(names, threads.map(pack, names), strict=True))
    tensors = {name: packed.get(name, tensor) for name, tensor in spec.tensors.items()}
    return ModelSpec(spec.settings, tensors)
