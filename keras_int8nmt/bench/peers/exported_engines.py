"""The libraries that run exported halves: ONNX Runtime, OpenVINO, LiteRT; none imports Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_int8nmt.bench.peers.decoding import translate
from keras_int8nmt.bench.peers.exports import DECODER, ENCODER, INPUTS, by_name
from keras_int8nmt.bench.translation.cases import Job

# A half: arrays by the names of its inputs in, its one output.
Half = Callable[[dict[str, np.ndarray]], np.ndarray]


class ExportedEngine:
    """A worker's engine, of both halves.

    Args:
        folder: Of the trained model.
        cores: Threads.
        peer: Name of the folder of its files.
    """

    suffix = ""

    def __init__(self, folder: Path, cores: int, peer: str) -> None:
        self.settings = ""
        files = folder / peer
        self._encoder = self.half(files / f"{ENCODER}{self.suffix}", ENCODER, cores)
        self._decoder = self.half(files / f"{DECODER}{self.suffix}", DECODER, cores)

    def half(self, path: Path, half: str, cores: int) -> Half:
        """One of the two, ready to be called."""
        raise NotImplementedError

    def encode(self, source: np.ndarray) -> np.ndarray:
        return self._encoder({INPUTS[1]: source})

    def next_logits(self, states: np.ndarray, source: np.ndarray, prefix: np.ndarray) -> np.ndarray:
        return self._decoder(dict(zip(INPUTS, (states, source, prefix), strict=True)))

    def prepare(self, job: Job) -> Job:
        return job

    def run(self, prepared: Job) -> list[list[int]]:
        return translate(self, prepared)


class OnnxRuntime(ExportedEngine):
    suffix = ".onnx"

    def half(self, path: Path, half: str, cores: int) -> Half:
        import onnxruntime

        self.settings = f"ONNX Runtime {onnxruntime.__version__}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]

        def call(given: dict[str, np.ndarray]) -> np.ndarray:
            found: np.ndarray = session.run(None, by_name(names, given, half))[0]
            return found

        return call


class OpenVino(ExportedEngine):
    suffix = ".xml"

    def half(self, path: Path, half: str, cores: int) -> Half:
        import openvino

        self.settings = f"OpenVINO {openvino.__version__.split('-')[0]}"
        settings = {"INFERENCE_NUM_THREADS": cores, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(
            path, "CPU", {**settings, "PERFORMANCE_HINT": "LATENCY"}
        )
        names = [each.any_name for each in compiled.inputs]

        def call(given: dict[str, np.ndarray]) -> np.ndarray:
            # A copy: the output's own memory is written again by the next call.
            return np.array(compiled(by_name(names, given, half))[0])

        return call


class LiteRt(ExportedEngine):
    suffix = ".tflite"

    def half(self, path: Path, half: str, cores: int) -> Half:
        from importlib import metadata

        from ai_edge_litert.interpreter import Interpreter

        self.settings = f"LiteRT {metadata.version('ai-edge-litert')}"
        interpreter = Interpreter(str(path), num_threads=cores)
        runner = interpreter.get_signature_runner()
        names = list(runner.get_input_details())

        def call(given: dict[str, np.ndarray]) -> np.ndarray:
            (found,) = runner(**by_name(names, given, half)).values()
            return np.asarray(found)

        return call
