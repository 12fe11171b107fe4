"""Files of other libraries, made from the trained model: Keras' own exports, then their quantizers.

Each class is loaded in a worker for what it does on the way; afterwards the files are there.
A model goes out in two halves, as the search asks for them: the encoder, and the decoder of a
prefix. Both hold the table of embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt.bench.peers import training
from keras_int8nmt.bench.peers.calibration import prefixes

ENCODER, DECODER = "encoder", "decoder"
# Inputs of the decoder, in the order of `next_logits`.
INPUTS = ("states", "source", "prefix")


def halves(model: Any) -> dict[str, Any]:
    """Functional models of the encoder and of a step of the search."""
    import keras

    source, prefix = (keras.Input((None,), dtype="int32", name=n) for n in INPUTS[1:])
    states = keras.Input((None, model.sizes["width"]), name=INPUTS[0])
    step = model.next_logits(states, source, prefix)
    encoder = keras.Model(source, model.encode(source))
    decoder = keras.Model([states, source, prefix], step)
    # Keras exports to ONNX what has been called alone.
    ids = keras.ops.zeros((1, 2), "int32")
    decoder([encoder(ids), ids, ids])
    return {ENCODER: encoder, DECODER: decoder}


class Export:
    """Writes both halves of the float model in a format of `keras.Model.export`.

    Args:
        folder: Of the trained model.
        cores: Threads; exports have no use for them.
        peer: Name of the folder of files that are made.
        format, suffix: Of the files.
    """

    def __init__(self, folder: Path, cores: int, peer: str, format: str, suffix: str) -> None:
        self.folder, self.files = folder, folder / peer
        self.float_files = folder / f"float-{format}"
        for each in (self.files, self.float_files):
            each.mkdir(exist_ok=True)
        names = {half: self.float_files / f"{half}{suffix}" for half in (ENCODER, DECODER)}
        if not all(path.exists() for path in names.values()):
            for half, model in halves(training.load(folder)).items():
                model.export(str(names[half]), format=format, verbose=False)
        self.settings = f"keras.Model.export(format={format!r})"
        self.quantize(names)

    def quantize(self, names: dict[str, Path]) -> None:
        """Writes the files of the peer from those of the float halves."""
        raise NotImplementedError

    def samples(self) -> Iterator[dict[str, np.ndarray]]:
        """What the decoder is calibrated on, by its inputs; `source` alone is the encoder's."""
        model = training.load(self.folder)
        for source, prefix in prefixes(self.folder):
            states = np.asarray(model.encode(source))
            yield dict(zip(INPUTS, (states, source, prefix), strict=True))


class OnnxDynamic(Export):
    """ONNX Runtime's `quantize_dynamic`."""

    def quantize(self, names: dict[str, Path]) -> None:
        from onnxruntime.quantization import quantize_dynamic

        for path in names.values():
            quantize_dynamic(path, self.files / path.name)
        self.settings += ", quantize_dynamic"


class OpenVinoStatic(Export):
    """NNCF's `quantize` for Transformers, calibrated."""

    def quantize(self, names: dict[str, Path]) -> None:
        import nncf
        import openvino

        samples = list(self.samples())
        for half, path in names.items():
            model = openvino.Core().read_model(path)
            wanted = [each.any_name for each in model.inputs]
            data = [by_name(wanted, each, half) for each in samples]
            quantized = nncf.quantize(
                model,
                nncf.Dataset(data),
                subset_size=len(data),
                model_type=nncf.ModelType.TRANSFORMER,
            )
            openvino.save_model(quantized, self.files / path.name, compress_to_fp16=False)
        self.settings += f", NNCF {metadata.version('nncf')} quantize(model_type=TRANSFORMER)"


class LiteRtQuantized(Export):
    """ai-edge-quantizer, with one of its recipes."""

    recipe = ""

    def quantize(self, names: dict[str, Path]) -> None:
        from ai_edge_quantizer import quantizer, recipe

        samples = None
        for half, path in names.items():
            maker = quantizer.Quantizer(str(path), getattr(recipe, self.recipe)())
            found = None
            if maker.need_calibration:
                samples = samples or list(self.samples())
                wanted = list(signature_inputs(path))
                data = [by_name(wanted, each, half) for each in samples]
                found = maker.calibrate({signature_key(path): data})
            (self.files / path.name).write_bytes(maker.quantize(found).quantized_model)
        version = metadata.version("ai-edge-quantizer")
        self.settings += f", ai-edge-quantizer {version} {self.recipe}"


class LiteRtDynamic(LiteRtQuantized):
    recipe = "dynamic_wi8_afp32"


class LiteRtStatic(LiteRtQuantized):
    recipe = "static_wi8_ai8"


def signature_key(path: Path) -> str:
    """The one signature of a LiteRT file."""
    from ai_edge_litert.interpreter import Interpreter

    (key,) = Interpreter(str(path)).get_signature_list()
    return str(key)


def signature_inputs(path: Path) -> list[str]:
    """Its inputs."""
    from ai_edge_litert.interpreter import Interpreter

    return list(Interpreter(str(path)).get_signature_list()[signature_key(path)]["inputs"])


def by_name(names: list[str], given: dict[str, np.ndarray], half: str) -> dict[str, np.ndarray]:
    """Arrays by the names that an exported half has for its inputs.

    Exports put something before or behind a name; one that says nothing counts by its place.
    """
    wanted = INPUTS[1:2] if half == ENCODER else INPUTS
    found = {name: each for name in names for each in wanted if each in name}
    if sorted(found.values()) != sorted(wanted):
        found = dict(zip(names, wanted, strict=True))
    return {name: given[each] for name, each in found.items()}
