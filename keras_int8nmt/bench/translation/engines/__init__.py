"""The engines by name, and whether each can run here.

A factory `module:Class` is loaded in a worker, whose process imports nothing before it is pinned:
no library is imported by this file.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from keras_int8nmt.bench.translation.cases import Case, Job
from keras_int8nmt.errors import KerasInt8nmtError

_HERE = __name__


class UnavailableError(KerasInt8nmtError, RuntimeError):
    """An engine can't run here; the message says why."""


class Engine(Protocol):
    """A loaded model of some library, made by `Class(folder, cores, **options)`.

    Attributes:
        settings: How it was set, for the table.
    """

    settings: str

    def prepare(self, job: Job) -> Any:
        """Everything that needs to be done once for a job; what is returned goes to `run`."""

    def run(self, prepared: Any) -> list[list[int]]:
        """Translates the job's sentences: the best hypothesis of each, end tokens included."""


@dataclass(frozen=True)
class Variant:
    """A setting of an engine; of several, the fastest is measured."""

    label: str = "as it is"
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    # Real sentences have many lengths, for each of which XLA would compile.
    forced_only: bool = False
    # With one stream it is another variant over again.
    several_streams_only: bool = False

    def suits(self, case: Case) -> bool:
        """Whether it is worth trying at `case`."""
        enough_streams = case.streams > 1 or not self.several_streams_only
        return enough_streams and (case.forced or not self.forced_only)


@dataclass(frozen=True)
class EngineSpec:
    """What the parent process knows of an engine.

    Attributes:
        name: As in the rows.
        factory: `module:Class`.
        needs: Distributions that must be importable.
        options: Arguments of the class.
        variants: Settings to choose from.
        models: Names of the models that it can translate with; None: all.
        refusal: Why it is never measured, if so.
    """

    name: str
    factory: str = ""
    needs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Variant, ...] = (Variant(),)
    models: tuple[str, ...] | None = None
    refusal: str | None = None

    def why_not(self, model: str) -> str | None:
        """Why it can't be measured here with `model`; None: it can be tried."""
        missing = [name for name in self.needs if importlib.util.find_spec(name) is None]
        if missing:
            return "not installed: " + ", ".join(missing)
        if self.refusal is not None:
            return "not measured: " + self.refusal
        if self.models is not None and model not in self.models:
            return f"not measured: only for {', '.join(self.models)}"
        return None


def _ours(name: str, folder: str, path: str) -> EngineSpec:
    return EngineSpec(name, _HERE + ".ours:Ours", options={"folder_name": folder, "path": path})


def _ctranslate2(name: str, compute_type: str) -> EngineSpec:
    """The back end is the one documented choice that an environment variable makes on a CPU."""
    variants = (
        Variant("back end by default"),
        Variant("CT2_USE_MKL=1", environment={"CT2_USE_MKL": "1"}),
        Variant("CT2_USE_MKL=0", environment={"CT2_USE_MKL": "0"}),
    )
    return EngineSpec(
        name,
        _HERE + ".ctranslate:CTranslate2",
        needs=("ctranslate2",),
        options={"compute_type": compute_type},
        variants=variants,
    )


_KERAS_VARIANTS = (
    Variant("tf.function, 1 stream"),
    Variant("tf.function, streams as in the case", {"streams": "case"}, several_streams_only=True),
    Variant("XLA, 1 stream", {"xla": True}, forced_only=True),
)
_NO_EXPORT = (
    "it reads ONNX or its own format, and nothing that this benchmark installs writes the model "
    "with its search in either"
)

ENGINES: dict[str, EngineSpec] = {
    spec.name: spec
    for spec in (
        _ours("int8-fast", "int8", "fast"),
        _ctranslate2("ctranslate2-int8", "int8"),
        _ours("float32-fast", "float", "fast"),
        _ours("int8-layers", "int8", "layers"),
        EngineSpec("keras-float32", _HERE + ".keras_float:KerasFloat", variants=_KERAS_VARIANTS),
        _ctranslate2("ctranslate2-float32", "float32"),
        EngineSpec(
            "keras-quantize-int8",
            _HERE + ".keras_float:KerasQuantized",
            variants=_KERAS_VARIANTS,
        ),
        EngineSpec(
            "transformers-dynamic-int8",
            _HERE + ".hugging_face:DynamicInt8",
            needs=("torch", "transformers"),
            models=("tiny",),
        ),
        EngineSpec("onnxruntime-int8", needs=("onnxruntime",), refusal=_NO_EXPORT),
        EngineSpec("openvino-int8", needs=("openvino",), refusal=_NO_EXPORT),
    )
}

# Decoding as Keras' own tutorials show it; for `bench paper` alone.
OUT_OF_THE_BOX = EngineSpec("keras-out-of-the-box-float32", _HERE + ".out_of_the_box:OutOfTheBox")
