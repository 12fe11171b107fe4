"""The benchmarks by name. To add one, add its file and a row to `BENCHMARKS`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.accuracy.options import checked_options as accuracy_options
from keras_int8nmt.bench.any_keras.cases import checked_options as keras_options
from keras_int8nmt.bench.documents import commit_of_figures, figures_path, read_figures
from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.bench.peers.table import checked_options as peers_options
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
        report: The module that writes its documents, with their `NAME` and a `write_docs`.
    """

    function: str
    options: tuple[str, ...] = ()
    checked: Callable[[dict[str, Any]], dict[str, Any]] = _unchanged
    report: str = ""

    def load(self) -> Callable[..., dict[str, Any]]:
        """The function."""
        module, _, name = self.function.partition(":")
        function: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
        return function

    def redraw(self, docs: str, isa: str | None = None) -> dict[str, Any]:
        """Writes the documents anew of the figures that are kept; measures nothing.

        Args:
            docs: The folder of the pages.
            isa: Of `translate`: the set that engines were held to.

        Returns:
            The figures.

        Raises:
            BenchError: where there are none.
        """
        report = importlib.import_module(self.report)
        held = {} if isa is None else {"isa": isa}
        name = "-".join([report.NAME, *held.values()])
        figures = read_figures(Path(docs), name)
        if figures is None:
            raise BenchError(
                f"There are no figures {str(figures_path(Path(docs), name))!r} to draw; without "
                "--redraw they are measured."
            )
        if commit := commit_of_figures(Path(docs), name):
            # Drawn now, but measured then.
            figures = {"commit": commit, **figures}
        report.write_docs(Path(docs), figures, **held)
        return figures


BENCHMARKS: dict[str, Benchmark] = {
    "gemm": Benchmark(_HERE + ".gemm:run_gemm"),
    "gather": Benchmark(_HERE + ".gather:run_gather"),
    "translate": Benchmark(
        _HERE + ".translation.run:run_translate",
        ("full", "docs", "cases", "engines", "state", "isa"),
        checked_options,
        _HERE + ".translation.report",
    ),
    "keras": Benchmark(
        _HERE + ".any_keras.run:run_keras",
        ("docs", "cases", "engines"),
        keras_options,
        _HERE + ".any_keras.report",
    ),
    "startup": Benchmark(
        _HERE + ".startup.run:run_startup", ("docs",), report=_HERE + ".startup.report"
    ),
    "peers": Benchmark(
        _HERE + ".peers.run:run_peers",
        ("docs", "state", "engines", "sentences", "test"),
        peers_options,
        report=_HERE + ".peers.report",
    ),
    "profile": Benchmark(_HERE + ".profile:run_profile"),
    "paper": Benchmark(_HERE + ".paper.run:run_paper"),
    "corpus": Benchmark(
        _HERE + ".corpus.run:run_corpus",
        ("docs", "lines", "parts"),
        report=_HERE + ".corpus.report",
    ),
    "accuracy": Benchmark(
        _HERE + ".accuracy.run:run_accuracy",
        ("docs", "state", "models", "recipes", "sentences", "test"),
        accuracy_options,
        _HERE + ".accuracy.report",
    ),
}
