"""Writers of the storages that a Hugging Face folder can have, as the packages themselves write.

There is no PyTorch here: its two formats are written by Python's own pickler, protocol 2, with the
names and the persistent ids that `torch.save` gives it.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage"}
SAFE_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Name:
    """A name of another package, pickled as such."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """What unpickles as a call."""

    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments

    def __reduce__(self):
        return self.name, self.arguments


class StorageId:
    """A persistent id."""

    def __init__(self, *told):
        self.told = told


class Metadata(OrderedDict):
    """An OrderedDict with an attribute, as `Module.state_dict` gives."""

    def __reduce__(self):
        state = {"_metadata": OrderedDict({"": {"version": 1}, "model": {"version": 1}})}
        return Name("collections", "OrderedDict"), (), state, None, iter(self.items())


class Pickler(pickle._Pickler):  # the one in Python, whose names can be other packages'
    def persistent_id(self, value):
        return value.told if isinstance(value, StorageId) else None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Name):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
            return
        super().save(obj, save_persistent_id)

    def save_reduce(self, func, args, *rest, obj=None, **more):
        # Names can be called here, which are no functions.
        state, listitems, dictitems = [*rest, None, None, None][:3]
        self.save(func)
        self.save(args)
        self.write(b"R")
        if obj is not None:
            self.memoize(obj)
        if listitems is not None:
            self._batch_appends(listitems)
        if dictitems is not None:
            self._batch_setitems(dictitems)
        if state is not None:
            self.save(state)
            self.write(b"b")

    dispatch = dict(pickle._Pickler.dispatch)


def pickled(value: Any) -> bytes:
    file = io.BytesIO()
    Pickler(file, 2).dump(value)
    return file.getvalue()


def rounded(value: np.ndarray, dtype: str) -> np.ndarray:
    """float32: what is left of the values in a type."""
    return from_bytes(to_bytes(value, dtype), dtype).reshape(value.shape)


def to_bytes(value: np.ndarray, dtype: str) -> bytes:
    value = np.ascontiguousarray(value, np.float32)
    if dtype == "bfloat16":
        # To the nearest one, and to the even one of two.
        bits = value.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
    return value.astype(np.dtype(dtype).newbyteorder("<")).tobytes()


def from_bytes(content: bytes, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(content, dtype).astype(np.float32)


def state_dict(tensors: Mapping[str, np.ndarray], dtype: str, legacy: bool) -> Metadata:
    """What `torch.save` is given, its storages by their keys "0", "1", ..."""
    more = (None,) if legacy else ()
    state = Metadata()
    keys: dict[int, str] = {}
    for name, value in tensors.items():
        # Names of one array share its storage.
        key = keys.setdefault(id(value), str(len(keys)))
        storage = StorageId(
            "storage", Name("torch", STORAGES[dtype]), key, "cpu", value.size, *more
        )
        stride = tuple(int(np.prod(value.shape[i + 1 :])) for i in range(value.ndim))
        rebuild = Name("torch._utils", "_rebuild_tensor_v2")
        state[name] = Call(rebuild, storage, 0, value.shape, stride, False, OrderedDict())
    return state


def distinct(tensors: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return list({id(value): value for value in tensors.values()}.values())


def write_torch_zip(
    path: Path, tensors: Mapping[str, np.ndarray], dtype: str = "float32", state: Any = None
) -> None:
    """As PyTorch 1.6 and later; `state` is pickled in place of the tensors' own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        state = state_dict(tensors, dtype, legacy=False) if state is None else state
        archive.writestr("archive/data.pkl", state if type(state) is bytes else pickled(state))
        archive.writestr("archive/byteorder", "little")
        for i, value in enumerate(distinct(tensors)):
            archive.writestr(f"archive/data/{i}", to_bytes(value, dtype))
        archive.writestr("archive/version", "3\n")


def write_torch_legacy(
    path: Path, tensors: Mapping[str, np.ndarray], dtype: str = "float32", state: Any = None
) -> None:
    """As PyTorch before 1.6."""
    system = {
        "protocol_version": PROTOCOL,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    state = state_dict(tensors, dtype, legacy=True) if state is None else state
    keys = [str(i) for i in range(len(distinct(tensors)))]
    with path.open("wb") as file:
        for value in (MAGIC, PROTOCOL, system):
            file.write(pickled(value))
        file.write(state if type(state) is bytes else pickled(state))
        file.write(pickled(keys))
        for array in distinct(tensors):
            file.write(struct.pack("<q", array.size))
            file.write(to_bytes(array, dtype))


def write_safetensors(
    path: Path, tensors: Mapping[str, np.ndarray], dtype: str = "float32"
) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts, end = [], 0
    for name, value in tensors.items():
        parts.append(to_bytes(value, dtype))
        begin, end = end, end + len(parts[-1])
        told = {"dtype": SAFE_DTYPES[dtype], "shape": list(value.shape)}
        header[name] = {**told, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def write_shards(
    path: Path, tensors: Mapping[str, np.ndarray], dtype: str = "float32", shards: int = 3
) -> None:
    """Some files beside the index, which is `path`; of which kind, its name says."""
    stem, suffix = path.name.removesuffix(".index.json").split(".")
    write = write_safetensors if suffix == "safetensors" else write_torch_zip
    index = {}
    for i in range(shards):
        name = f"{stem}-{i + 1:05d}-of-{shards:05d}.{suffix}"
        part = dict(list(tensors.items())[i::shards])
        write(path.parent / name, part, dtype)
        index.update(dict.fromkeys(part, name))
    size = sum(len(to_bytes(value, dtype)) for value in tensors.values())
    path.write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": index}))


def write_tf_h5(path: Path, tensors: Mapping[str, np.ndarray], dtype: str = "float32") -> None:
    """As `TFMarianMTModel.save_pretrained`: Keras' groups, with the names of its layers."""
    import h5py

    layers: dict[str, dict[str, np.ndarray]] = {"model": {}, "final_logits_bias": {}}
    for name, value in tensors.items():
        layer, path_in_layer, array = _tf_weight(name, value)
        layers[layer][path_in_layer] = array
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.4.0"
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for name, array in weights.items():
                group.create_dataset(name, array.shape, dtype=dtype)[...] = array


def _tf_weight(name: str, value: np.ndarray) -> tuple[str, str, np.ndarray]:
    if name == "final_logits_bias":
        return "final_logits_bias", "final_logits_bias:0", value
    if name == "model.shared.weight":
        return "model", "model.shared/weight:0", value
    # "layers.0" is one layer's name.
    *parents, last = name.replace("layers.", "layers/").split(".")
    layer = "/".join(parents).replace("layers/", "layers.")
    is_norm = layer.endswith("layer_norm")
    if last == "bias":
        last = "beta" if is_norm else "bias"
    elif "embed_positions" in layer:
        last = "embeddings"
    else:
        last, value = ("gamma", value) if is_norm else ("kernel", value.T)
    return "model", f"tf_marian_mt_model/{layer}/{last}:0", value


WRITERS = {
    "model.safetensors": write_safetensors,
    "model.safetensors.index.json": write_shards,
    "pytorch_model.bin": write_torch_zip,
    "pytorch_model.bin.index.json": write_shards,
    "tf_model.h5": write_tf_h5,
}
