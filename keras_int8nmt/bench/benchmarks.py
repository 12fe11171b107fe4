"""The benchmarks by name. To add one, add its file and a row to `BENCHMARKS`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras_int8nmt.bench.accuracy.options import checked_options as accuracy_options
from keras_int8nmt.bench.any_keras.cases import checked_options as keras_options
from keras_int8nmt.bench.translation.options import checked_options

_HERE = "keras_int8nmt.bench"


def _unchanged(options: dict[str, Any]) -> dict[str, Any]:
    return options


@dataclass(frozen=True)
class Benchmark:
    """A benchmark; its module imports Keras and TensorFlow, and is imported when it is run.

    Attributes:
        function: `module:function`. Given the options that were set, it measures and returns
            figures: `machine`, `rows` (see `rows.py`), and more.
        options: Those that it has, by the names of the function's arguments.
        checked: Its arguments from those options, or a BenchError.
    """

    function: str
    options: tuple[str, ...] = ()
    checked: Callable[[dict[str, Any]], dict[str, Any]] = _unchanged

    def load(self) -> Callable[..., dict[str, Any]]:
        """The function."""
        module, _, name = self.function.partition(":")
        function: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
        return function


BENCHMARKS: dict[str, Benchmark] = {
    "gemm": Benchmark(_HERE + ".gemm:run_gemm"),
    "gather": Benchmark(_HERE + ".gather:run_gather"),
    "translate": Benchmark(
        _HERE + ".translation.run:run_translate",
        ("full", "docs", "cases", "engines", "state", "isa"),
        checked_options,
    ),
    "keras": Benchmark(
        _HERE + ".any_keras.run:run_keras", ("docs", "cases", "engines"), keras_options
    ),
    "startup": Benchmark(_HERE + ".startup.run:run_startup", ("docs",)),
    "profile": Benchmark(_HERE + ".profile:run_profile"),
    "paper": Benchmark(_HERE + ".paper.run:run_paper"),
    "corpus": Benchmark(_HERE + ".corpus.run:run_corpus", ("docs", "lines", "parts")),
    "accuracy": Benchmark(
        _HERE + ".accuracy.run:run_accuracy",
        ("docs", "state", "models", "recipes", "sentences", "test"),
        accuracy_options,
    ),
}
