"""Who may import whom; sizes of files; nothing of TensorFlow below the ops."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_int8nmt

PACKAGE = Path(keras_int8nmt.__file__).resolve().parent
SOURCES = Path(__file__).resolve().parents[1]

# What a module may import besides the standard library and NumPy. A folder stands for all in it.
NUMPY_ONLY = (
    "quantization.py",
    "bias_correction.py",
    "conversion_options.py",
    "calibration/histogram.py",
    "calibration/threshold.py",
    "calibration/modes.py",
    "calibration/kl_search.py",
    "calibration/entropy.py",
    "calibration/squared_error.py",
    "calibration/percentile.py",
    "calibration/distribution.py",
    "calibration/errors.py",
    "autotuning/candidates.py",
    "autotuning/frontier.py",
    "autotuning/result.py",
    "autotuning/search.py",
    "autotuning/state.py",
    "conversion_policy.py",
    "integer_functions.py",
    "conversion_report.py",
    "report_html.py",
    "report_quality_html.py",
    "report_svg.py",
    "batching.py",
    "tables.py",
    "search_options.py",
    "translation.py",
    "windows.py",
    "record_formats.py",
    "compressed.py",
    "journal.py",
    "line_source.py",
    "outputs.py",
)
KERAS_OPS_ONLY = (
    "transformer.py",
    "transformer_model.py",
    "transformer_blocks.py",
    "transformer_settings.py",
    "plain_attention.py",
    "marian.py",
    "channel_scaling.py",
    "balancing.py",
    "bench/accuracy/hard.py",
    "calibration/state.py",
    "calibration/training.py",
    "callbacks/calibration.py",
    "layers/observer.py",
    "layers/channel_statistics.py",
    "layers/quant_dense.py",
    "layers/quant_attention.py",
    "layers/int8_gather.py",
    "layers/attention_math.py",
    "layers/fake_quant.py",
    "layers/learned_threshold.py",
    "layers/graph_histogram.py",
)


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports when it is loaded, in any function too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("name", NUMPY_ONLY)
def test_arithmetic_knows_numpy_only(name):
    assert not imported(PACKAGE / name) & {"keras", "tensorflow", "jax"}


@pytest.mark.parametrize("name", KERAS_OPS_ONLY)
def test_float_layers_know_no_back_end(name):
    found = imported(PACKAGE / name) & {"tensorflow", "jax", "torch"}
    # `branches` and the Observer ask Keras which back end it runs on; they import none at the top.
    assert not found


def test_importing_the_package_loads_neither_keras_nor_tensorflow():
    program = (
        "import sys, keras_int8nmt\n"
        "print(sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def native_sources() -> list[Path]:
    folder = SOURCES / "keras_int8nmt" / "cc"
    return sorted([*folder.rglob("*.cc"), *folder.rglob("*.h")])


@pytest.mark.parametrize(("floor", "above"), [("kernels", ("decoder",)), ("decoder", ())])
def test_floors_below_the_ops_know_nothing_of_tensorflow_nor_of_what_is_above(floor, above):
    sources = [path for path in native_sources() if path.parent.name == floor]
    names = {p.name for p in native_sources() if p.parent.name in (*above, "ops")}
    assert sources
    for path in sources:
        text = path.read_text(encoding="utf-8")
        assert '"tf_' not in text, path
        included = re.findall(r'#include [<"]([^>"]+)[>"]', text)
        assert not [name for name in included if "tensorflow" in name], path
        assert not set(included) & names, path


def test_no_source_file_is_longer_than_400_lines():
    files = [*PACKAGE.rglob("*.py"), *(SOURCES / "tests").rglob("*.py"), *native_sources()]
    long = {
        p.name: n for p in files if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
