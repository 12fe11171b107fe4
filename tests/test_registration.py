"""Keras finds the package's classes by name, in whatever order the two are imported."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import keras_int8nmt
from keras_int8nmt import _registration

PACKAGE = Path(keras_int8nmt.__file__).resolve().parent
DATA = Path(__file__).resolve().parent / "data" / "release_0_1_0"

ORDERS = {
    "keras first": "import keras, keras_int8nmt",
    "keras last": "import keras_int8nmt, keras",
    "asked for before it is imported": (
        "import keras_int8nmt, importlib.util; importlib.util.find_spec('keras'); import keras"
    ),
    "imported by TensorFlow": (
        "import keras_int8nmt, tensorflow; tensorflow.keras.layers; import keras"
    ),
    "reloaded": "import importlib, keras_int8nmt; importlib.reload(keras_int8nmt); import keras",
}


def run(program: str, *arguments: str) -> str:
    """The last line that a program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def registered_in(path: Path) -> dict[str, str]:
    """The classes that a file registers, with its module below the package."""
    found = {}
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for decorator in getattr(node, "decorator_list", ()):
            text = ast.unparse(decorator)
            if "register_keras_serializable" in text:
                assert text.endswith(f"register_keras_serializable(package='{PACKAGE.name}')")
                found[node.name] = module
    return found


def test_the_table_lists_every_registered_class():
    found: dict[str, str] = {}
    for path in PACKAGE.rglob("*.py"):
        found |= registered_in(path)
    assert found == _registration.HOMES


@pytest.mark.parametrize("order", ORDERS.values(), ids=list(ORDERS))
def test_a_converted_model_loads_in_a_fresh_process(order):
    program = (
        f"{order}\n"
        "import json, sys, numpy\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "outputs = numpy.asarray(model(numpy.array(json.loads(sys.argv[2]), 'int32')))\n"
        "print([float(x).hex() for x in outputs.ravel()])"
    )
    expected = json.loads((DATA / "expected.json").read_text())["functional"]
    printed = run(program, str(DATA / "functional.keras"), json.dumps(expected["inputs"]))
    assert ast.literal_eval(printed) == expected["outputs"]


def test_a_calibrated_model_loads_without_the_layers_that_conversion_makes(tmp_path):
    shutil.unpack_archive(DATA / "calibrated.zip", tmp_path)
    program = (
        "import keras_int8nmt, keras, sys\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "inference = [m for m in sys.modules if m.startswith('keras_int8nmt.layers.inference.')]\n"
        "print(type(model).__name__, type(model.encoder_blocks[0].ffn_in).__name__, inference)"
    )
    printed = run(program, str(tmp_path / "calibrated" / "model.keras"))
    assert printed == "Transformer QuantDense []"


def test_the_import_of_keras_is_left_as_it_was():
    program = (
        "import keras_int8nmt, keras, sys\n"
        "own = [f for f in sys.meta_path if type(f).__module__.startswith('keras_int8nmt')]\n"
        "print(own, 'exec_module' in vars(keras.__spec__.loader))"
    )
    assert run(program) == "[] False"


def test_stand_ins_give_the_classes_and_their_objects():
    program = (
        "import keras, keras_int8nmt\n"
        "from keras_int8nmt._registration import HOMES\n"
        "get = keras.saving.get_registered_object\n"
        "stand_ins = {name: get('keras_int8nmt>' + name) for name in HOMES}\n"
        "dense = stand_ins['QuantDense'](3)\n"
        "assert type(dense) is keras_int8nmt.QuantDense, type(dense)\n"
        "for name, stand_in in stand_ins.items():\n"
        "    real = stand_in._real()\n"
        "    assert real is get('keras_int8nmt>' + name) is not stand_in, name\n"
        "    assert keras.saving.get_registered_name(real) == 'keras_int8nmt>' + name\n"
        "    assert repr(real) == repr(stand_in), (real, stand_in)\n"
        "print(len(stand_ins))"
    )
    assert run(program) == str(len(_registration.HOMES))
