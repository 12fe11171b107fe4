"""TensorFlow SavedModels: a model and its whole search as one signature.

    export_saved_model(int8, "en-de")
    loaded = load_saved_model("en-de")

Weights of products are stored plain, int8 or float32, as a checkpoint among the assets. When the
SavedModel is loaded they are read one by one and packed for the CPU at hand, so that the plain ones
take no memory. Everything else is a variable. The search is one op of the native library, or with
`ops="stock"` a loop of TensorFlow's own operations.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_int8nmt.ops import native as native_ops
from keras_int8nmt.ops.functions import pack_weights, stock_operations
from keras_int8nmt.ops.library import require
from keras_int8nmt.ops.translate_op import translate as translate_rows
from keras_int8nmt.runtime.gemm_choice import recall_gemm
from keras_int8nmt.runtime.model_spec import ModelSpec
from keras_int8nmt.runtime.search_defaults import of_model
from keras_int8nmt.runtime.search_options import SearchOptions
from keras_int8nmt.storage.folders import (
    SAVED_MODEL_FILE,
    ModelFolderError,
    check_writable,
    new_folder,
)
from keras_int8nmt.storage.stock_search import StockSearch, stock_search
from keras_int8nmt.translation.model import check_model
from keras_int8nmt.translation.translator import Translator

_CHECKPOINT = "weights"
# What the names of the native library's ops begin with.
_OPS = b"KerasInt8nmt"
_FORMAT_VERSION = 1
_MOST_FILES = 1000


def export_saved_model(
    model: Any,
    folder: str | os.PathLike[str],
    *,
    beam_size: int = of_model(4),
    num_hypotheses: int = of_model(1),
    max_length: int = of_model(256),
    min_length: int = of_model(0),
    length_penalty: float = of_model(1.0),
    batch_size: int = 32,
    ops: str = "native",
    force: bool = False,
) -> None:
    """Writes a model and its search as a TensorFlow SavedModel.

    Its signature `serving_default` takes `source_ids`, int32 `[batch, length]`: each row a sentence
    with its end token, then the model's `pad_id`. It gives `tokens`, int32 `[batch, num_hypotheses,
    longest]`, the end token included and then `pad_id`; `lengths`, int32 `[batch, num_hypotheses]`;
    and `scores`, float32. Where a sentence has no further hypothesis the length is 0 and the score
    -inf. Tokens and scores are those of `Translator(path="fast")`. The file is not bound to a CPU.

    Args:
        model: A `Transformer` or an `Int8Transformer`, the latter all in INT8 or mixed.
        folder: Where to; it must not exist.
        beam_size, num_hypotheses, max_length, min_length, length_penalty: As in `Translator`, the
            model's own `search_defaults` included. What else those say, of tokens that are not
            produced, a SavedModel can't do: it is left out, with a warning.
        batch_size: Sentences of a call that are computed together; a call may have any
            number. Stock operations compute all sentences of a call together.
        ops: "native": one op of the native library does the search, and a program that loads the
            SavedModel loads that library first. "stock": TensorFlow's own operations do it, many
            times slower, for servers that load no libraries; nothing of this package is needed
            then. Tokens and scores of an INT8 model are the same; float products may differ in the
            last bits.
        force: Replace `folder` if it is a SavedModel already.

    Raises:
        ModelFolderError: when the folder exists and `force` is not set, or is something else than a
            SavedModel.
        RuntimeError: without the native library, which stock operations do not need.
        TypeError, ValueError: for a model that the native decoder can't run, for another `ops`, and
            for options as in `Translator`.

    Example:

        >>> export_saved_model(convert(model), "en-de-served", beam_size=4)
        >>> served = load_saved_model("en-de-served").signatures["serving_default"]
        >>> served(source_ids=ids)["tokens"]
    """
    if ops not in ("native", "stock"):
        raise ValueError(f"`ops` must be 'native' or 'stock'; received {ops!r}.")
    native = ops == "native"
    if native:
        require()
    check_model(model)
    reason = model.native_refusal()
    if reason is not None:
        raise ValueError(f"This model can't be exported: {reason}.")
    search: dict[str, Any] = {
        "beam_size": beam_size,
        "max_length": max_length,
        "min_length": min_length,
        "length_penalty": length_penalty,
        "num_hypotheses": num_hypotheses,
    }
    others = [name for name in getattr(model, "search_defaults", ()) if name not in search]
    if others:
        warnings.warn(
            f"The model asks its search for {', '.join(others)}, which a SavedModel can't do: its "
            "translations are those without.",
            stacklevel=2,
        )
        search.update({name: getattr(SearchOptions(), name) for name in others})
    path = "fast" if native else "layers"
    translator = Translator(model, None, path=path, batch_size=batch_size, **search)
    folder = Path(folder)
    check_writable(folder, force, SAVED_MODEL_FILE)
    options = translator.options
    with new_folder(folder) as draft, tempfile.TemporaryDirectory(dir=draft.parent) as assets:
        if native:
            spec = model.spec(packed=False)
            served = _served(spec, options, translator.batch_size, Path(assets))
            tf.saved_model.save(served, str(draft), signatures=served.translate)
        else:
            found = stock_search(model, options)
            # Saving traces: the search, and what packs the weights.
            with stock_operations():
                served = _served_by_stock(found, Path(assets))
                tf.saved_model.save(served, str(draft), signatures=served.translate)


def load_saved_model(folder: str | os.PathLike[str]) -> Any:
    """Loads what `export_saved_model` wrote, and the native library if it needs that.

    The same as `tf.load_op_library` of `libkeras_int8nmt.so` and `tf.saved_model.load(folder)`; for
    one of `ops="stock"` the latter alone. The weights are packed for this CPU meanwhile, once.

    Args:
        folder: The folder.

    Returns:
        What TensorFlow loads: `signatures["serving_default"]`, and `translate(source_ids)`, which
        gives the same dict.

    Raises:
        ModelFolderError: when there is no SavedModel, a damaged one, or one of something else.
        RuntimeError: without the native library, where it is needed.
    """
    graph = Path(folder) / SAVED_MODEL_FILE
    if not graph.is_file():
        raise ModelFolderError(
            f"{str(folder)!r} is no SavedModel: it has no file {SAVED_MODEL_FILE}."
        )
    _check_regular(Path(folder))
    if _OPS in graph.read_bytes():
        require()
        # Its weights are packed inside of TensorFlow.
        recall_gemm()
    try:
        loaded = tf.saved_model.load(str(folder))
        found = getattr(loaded, "keras_int8nmt_format", None)
        version = None if found is None else int(found)
    except Exception as error:  # damage ends in errors of any class, of TensorFlow and of others
        told = str(error).strip() or "no more is known"
        raise ModelFolderError(
            f"TensorFlow can't load {str(folder)!r}: {type(error).__name__}: {told[:1000]}"
        ) from error
    if version is None:
        raise ModelFolderError(f"{str(folder)!r} is a SavedModel, but not of export_saved_model.")
    if version != _FORMAT_VERSION:
        raise ModelFolderError(
            f"{str(folder)!r} has format version {version}; this release reads version "
            f"{_FORMAT_VERSION}."
        )
    return loaded


def _check_regular(folder: Path) -> None:
    """Raises ModelFolderError naming what TensorFlow would wait for, or never end to read."""
    for count, path in enumerate(folder.rglob("*")):
        if count > _MOST_FILES:
            raise ModelFolderError(f"{str(folder)!r} holds more than {_MOST_FILES} files.")
        if not path.is_file() and not path.is_dir():
            raise ModelFolderError(f"{str(path)!r} is no regular file.")


def _served(spec: ModelSpec, options: SearchOptions, batch_size: int, folder: Path) -> tf.Module:
    """What is exported; files that become assets are written into `folder`."""
    weights = set(spec.weights)
    module = _module()
    module.divisors = tf.Variable(np.asarray(options.divisors()), trainable=False)
    module.variables_by_name = _variables(spec, weights)
    _keep_packed(module, {name: spec.tensors[name] for name in spec.weights}, folder)

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int32, "source_ids")], autograph=False
    )
    def translate(source_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        variables = {**module.variables_by_name, **module.packed_by_name}
        found = translate_rows(
            source_ids,
            module.divisors,
            spec,
            {name: tf.convert_to_tensor(variable) for name, variable in variables.items()},
            beam_size=options.beam_size,
            num_hypotheses=options.num_hypotheses,
            min_length=options.min_length,
            batch_size=batch_size,
        )
        return dict(zip(("tokens", "lengths", "scores"), found, strict=True))

    module.translate = translate
    return module


def _served_by_stock(found: StockSearch, folder: Path) -> tf.Module:
    """Likewise, by TensorFlow's own operations."""
    module = _module()
    module.variables_of_model = found.variables
    _keep_packed(module, found.weights, folder)

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int32, "source_ids")], autograph=False
    )
    def translate(source_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        packed = {name: tf.convert_to_tensor(x) for name, x in module.packed_by_name.items()}
        return found.search(source_ids, packed)._asdict()

    module.translate = translate
    return module


def _module() -> tf.Module:
    module = tf.Module()
    module.keras_int8nmt_format = tf.Variable(_FORMAT_VERSION, trainable=False)
    return module


def _keep_packed(module: tf.Module, weights: Mapping[str, np.ndarray], folder: Path) -> None:
    """Gives `module` these weights: plain in assets, packed in `packed_by_name` once loaded."""
    # Empty in the file: `_Packing` fills them.
    packed = {
        name: tf.Variable(tf.zeros((0,), tf.uint8), trainable=False, shape=(None,))
        for name in weights
    }
    module.packed_by_name = packed
    if not packed:
        return
    plain = {name: tf.constant(tensor) for name, tensor in weights.items()}
    module.assets = _write_checkpoint(plain, folder)
    kinds = {name: (tensor.dtype, tensor.shape) for name, tensor in plain.items()}
    module.packing = _Packing(module.assets["index"], kinds, packed)


class _Packing(tf.saved_model.experimental.TrackableResource):
    """What TensorFlow does once when a SavedModel is loaded: it packs the weights.

    A resource is what TensorFlow initializes; the packed weights themselves are variables, which
    every loader keeps apart and frees. TensorFlow calls none of the methods before the loading.
    """

    def __init__(
        self,
        index: tf.saved_model.Asset,
        kinds: dict[str, tuple[tf.DType, tf.TensorShape]],
        packed: dict[str, tf.Variable],
    ) -> None:
        super().__init__()
        self._index, self._kinds, self._packed = index, kinds, packed

    def _create_resource(self) -> tf.Tensor:
        # It holds nothing.
        return tf.raw_ops.VarHandleOp(dtype=tf.int32, shape=(), shared_name="keras_int8nmt_packing")

    def _initialize(self) -> None:
        prefix = tf.strings.regex_replace(self._index.asset_path, r"\.index$", "")
        done: list[Any] = []
        for name, (dtype, shape) in self._kinds.items():
            # One after the other, so that the plain weights are never all in memory.
            with tf.control_dependencies(done):
                plain = tf.raw_ops.RestoreV2(
                    prefix=prefix, tensor_names=[name], shape_and_slices=[""], dtypes=[dtype]
                )[0]
                plain = tf.ensure_shape(plain, shape)
                pack = pack_weights if dtype == tf.int8 else native_ops.pack_float
                done = [self._packed[name].assign(pack(plain), read_value=False)]


def _variables(spec: ModelSpec, without: set[str]) -> dict[str, tf.Variable]:
    """By their names; tensors in the same memory, as tied embeddings are, share a variable."""
    made: dict[Any, tf.Variable] = {}
    by_name = {}
    for name, tensor in spec.tensors.items():
        if name in without:
            continue
        key = (tensor.ctypes.data, tensor.dtype, tensor.shape)
        if key not in made:
            made[key] = tf.Variable(tensor, trainable=False)
        by_name[name] = made[key]
    return by_name


def _write_checkpoint(
    tensors: dict[str, tf.Tensor], folder: Path
) -> dict[str, tf.saved_model.Asset]:
    """Assets that together are a checkpoint, which has a checksum for each tensor."""
    tf.raw_ops.SaveV2(
        prefix=str(folder / _CHECKPOINT),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return {
        name: tf.saved_model.Asset(str(folder / f"{_CHECKPOINT}.{file}"))
        for name, file in (("index", "index"), ("data", "data-00000-of-00001"))
    }
