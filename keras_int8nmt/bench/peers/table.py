"""The ways into INT8 that are compared, by name. To add one, add classes and a row to `PEERS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.bench.translation.engines import EngineSpec

# In the working directory: the trained model, and what each library makes of it.
STATE_FOLDER = "bench-peers"
FLOAT, OURS = "keras-float32", "ours"
_HERE = "keras_int8nmt.bench.peers"
_KERAS, _EXPORTED = f"{_HERE}.keras_engines", f"{_HERE}.exported_engines"
_EXPORTS = f"{_HERE}.exports"


@dataclass(frozen=True)
class Peer:
    """A way into INT8.

    Attributes:
        what: For the page.
        engine: `module:Class`, loaded in a worker: `Class(folder, cores, peer)`.
        export: One that makes its files before, in a worker of its own; empty where none does.
        options: Of the export.
        needs: Packages that must be importable.
    """

    what: str
    engine: str
    export: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def engine_spec(self, name: str) -> EngineSpec:
        return EngineSpec(name, self.engine, self.needs, {"peer": name})

    def export_spec(self, name: str) -> EngineSpec:
        options = {"peer": name, **self.options}
        return EngineSpec(name, self.export, self.needs, options)


_ONNX = {"format": "onnx", "suffix": ".onnx"}
_OPENVINO = {"format": "openvino", "suffix": ".xml"}
_LITERT = {"format": "litert", "suffix": ".tflite"}
_HUB = ("keras_hub",)
_EDGE = (*_HUB, "ai_edge_litert", "ai_edge_quantizer")

PEERS: dict[str, Peer] = {
    FLOAT: Peer("Keras in float", f"{_KERAS}:KerasEngine", needs=_HUB),
    OURS: Peer(
        "`quantize_model`, a pass with `CalibrationCallback`, `convert`",
        f"{_KERAS}:Ours",
        needs=_HUB,
    ),
    "ours-dynamic": Peer(
        '`convert(quantize_model(model), activations="dynamic")`',
        f"{_KERAS}:OursDynamic",
        needs=_HUB,
    ),
    "keras-int8": Peer('Keras\' `model.quantize("int8")`', f"{_KERAS}:KerasInt8", needs=_HUB),
    "onnxruntime-dynamic": Peer(
        "Keras' ONNX export, `quantize_dynamic`",
        f"{_EXPORTED}:OnnxRuntime",
        f"{_EXPORTS}:OnnxDynamic",
        _ONNX,
        (*_HUB, "onnxruntime", "onnx", "tf2onnx"),
    ),
    "openvino-static": Peer(
        "Keras' OpenVINO export, NNCF `quantize`, calibrated",
        f"{_EXPORTED}:OpenVino",
        f"{_EXPORTS}:OpenVinoStatic",
        _OPENVINO,
        (*_HUB, "openvino", "nncf"),
    ),
    "litert-dynamic": Peer(
        "Keras' LiteRT export, ai-edge-quantizer `dynamic_wi8_afp32`",
        f"{_EXPORTED}:LiteRt",
        f"{_EXPORTS}:LiteRtDynamic",
        _LITERT,
        _EDGE,
    ),
    "litert-static": Peer(
        "Keras' LiteRT export, ai-edge-quantizer `static_wi8_ai8`, calibrated",
        f"{_EXPORTED}:LiteRt",
        f"{_EXPORTS}:LiteRtStatic",
        _LITERT,
        _EDGE,
    ),
}


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options of the command line, or a BenchError that names what is not known."""
    for name in options.get("engines", ()):
        if name not in PEERS:
            raise BenchError(f"There is no engine {name!r}; choose of {', '.join(PEERS)}.")
    return options
