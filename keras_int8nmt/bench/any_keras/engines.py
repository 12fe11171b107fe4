"""What a float model becomes with each library: a function of a batch.

Ours and Keras are called as traced functions with a fixed batch; ONNX Runtime and OpenVINO have
the model's own ONNX export. A library that is missing, or can't take the model, is a row with the
reason. Nothing heavy is imported by this file.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_int8nmt.errors import KerasInt8nmtError

# A batch in the structure that the model takes; arrays or tensors in the structure that it gives.
Call = Callable[[Any], Any]


class MissingError(KerasInt8nmtError, RuntimeError):
    """An engine can't take this model here; the message says why."""


@dataclass(frozen=True)
class Setting:
    """What an engine is made of.

    Attributes:
        subject: A `Subject`, not to be changed.
        make: Gives it anew, with the same weights.
        calibration: A batch to calibrate on.
        threads: That it may take.
        folder: For exports; those of this model that are there already are taken.
    """

    subject: Any
    make: Callable[[], Any]
    calibration: Any
    threads: int
    folder: Path


def traced(subject: Any, model: Any, **settings: Any) -> Call:
    """A model's own way to be called: a traced function, or its `generate`."""
    import tensorflow as tf

    if subject.generate is not None:
        if settings:
            raise MissingError("generate is a function of the model's own")
        generate: Call = subject.generate(model)
        return generate
    function = tf.function(lambda x: model(x, training=False), autograph=False, **settings)
    return lambda given: function(tf.nest.map_structure(tf.constant, given))


def _keras(setting: Setting) -> Call:
    return traced(setting.subject, setting.subject.model)


def _keras_xla(setting: Setting) -> Call:
    return traced(setting.subject, setting.subject.model, jit_compile=True)


def _keras_int8(setting: Setting) -> Call:
    subject = setting.make()
    subject.model.quantize("int8")
    return traced(subject, subject.model)


def _onnxruntime(setting: Setting) -> Call:
    _require("onnxruntime", "onnx", "tf2onnx")
    import onnxruntime
    from onnxruntime.quantization import quantize_dynamic

    path = setting.folder / "dynamic.onnx"
    if not path.exists():
        quantize_dynamic(_exported(setting), path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda given: session.run(None, _named(names, given))


def _openvino(setting: Setting) -> Call:
    _require("openvino", "nncf", "onnx", "tf2onnx")
    import nncf
    import openvino

    path = setting.folder / "static.xml"
    core = openvino.Core()
    if not path.exists():
        plain = core.read_model(_exported(setting))
        names = [each.any_name for each in plain.inputs]
        one = _named(names, setting.calibration)
        quantized = nncf.quantize(
            plain,
            nncf.Dataset([one]),
            subset_size=1,
            model_type=nncf.ModelType.TRANSFORMER,
        )
        openvino.save_model(quantized, path, compress_to_fp16=False)
    settings = {"INFERENCE_NUM_THREADS": setting.threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(path, "CPU", {**settings, "PERFORMANCE_HINT": "LATENCY"})
    names = [each.any_name for each in compiled.inputs]
    return lambda given: list(compiled(_named(names, given)).values())


# By name, in the order of the columns. Ours is not of them: it is what they are compared with.
PEERS: dict[str, Callable[[Setting], Call]] = {
    "keras": _keras,
    "keras-xla": _keras_xla,
    "keras-int8": _keras_int8,
    "onnxruntime-int8": _onnxruntime,
    "openvino-int8": _openvino,
}


def _require(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingError(f"{' and '.join(missing)} not installed")


def _exported(setting: Setting) -> Path:
    """The ONNX file of the float model, written once for each folder."""
    from keras_int8nmt.bench.any_keras.onnx_export import export

    path, failed = setting.folder / "float.onnx", setting.folder / "float.onnx.failed"
    if failed.exists():
        raise MissingError(failed.read_text(encoding="utf-8"))
    if not path.exists():
        if setting.subject.generate is not None:
            raise MissingError("an export has no generate")
        try:
            export(setting.subject.model, setting.calibration, path)
        except Exception as error:  # of two libraries that are not ours
            reason = f"no ONNX export: {first_line(error)}"
            failed.write_text(reason, encoding="utf-8")
            raise MissingError(reason) from error
    return path


def _named(names: list[str], given: Any) -> dict[str, Any]:
    """Arrays by the names of an exported model's inputs, which have the structure's order."""
    import tensorflow as tf

    flat = tf.nest.flatten(given)
    if isinstance(given, dict) and set(names) == set(given):
        return dict(given)
    return dict(zip(names, flat, strict=True))


def first_line(error: Exception) -> str:
    """What went wrong, in a row's length."""
    words = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {words[0][:160]}"
