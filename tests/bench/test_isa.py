"""Every engine held to one instruction set."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import pytest

from keras_int8nmt import cli, native
from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.bench.rows import format_rows
from keras_int8nmt.bench.timing import row
from keras_int8nmt.bench.translation import isa
from keras_int8nmt.bench.translation.models import model_settings

PROGRAM = """
import json, os, sys
from keras_int8nmt import native
from keras_int8nmt.bench.translation.isa import force
print(json.dumps([force(sys.argv[1]), native.info()["isa"]]))
"""


@pytest.mark.parametrize("name", isa.ISAS)
def test_a_set_holds_the_libraries_of_all_engines(name):
    if native.functions() is None:
        pytest.skip(f"no native library: {native.reason()}")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KERAS_INT8NMT_ISA": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if "this CPU can run" in done.stderr:
        assert f"BenchError: --isa {name}: " in done.stderr
        pytest.skip(f"this CPU has no {name}")
    assert done.returncode == 0, done.stderr
    variables, running = json.loads(done.stdout)
    assert running == variables["KERAS_INT8NMT_ISA"] == name
    assert len(variables) == 4
    assert all(variables.values())


def test_a_library_that_is_loaded_already_is_told_and_nothing_is_changed():
    running = native.info().get("isa")
    if running is None:
        pytest.skip(f"no native library: {native.reason()}")
    other = next(name for name in isa.ISAS if name != running)
    before = dict(os.environ)
    with pytest.raises(BenchError, match=f"--isa {other}: .* loaded already, with {running}"):
        isa.force(other)
    assert dict(os.environ) == before


def test_the_command_asks_for_the_set_before_the_library_is_loaded(monkeypatch, capsys):
    running = native.info().get("isa")
    if running not in isa.ISAS:
        pytest.skip(f"no native library, or one of another CPU: {native.reason()}")
    for name in isa.forced(running):
        monkeypatch.setenv(name, "")

    def start_keras():
        raise BenchError(f"asked for {os.environ['KERAS_INT8NMT_ISA']}")

    monkeypatch.setattr(
        importlib.import_module("keras_int8nmt.cli.bench"), "start_keras", start_keras
    )
    assert cli.main(["bench", "translate", "--isa", running]) == 2
    assert f"asked for {running}" in capsys.readouterr().err


def test_a_set_that_nobody_knows_is_refused(capsys):
    assert cli.main(["bench", "translate", "--isa", "bogus"]) == 2
    assert (
        "--isa bogus: choose of avx512_vnni, avx512, avx_vnni, avx2, generic"
        in capsys.readouterr().err
    )
    assert cli.main(["bench", "gemm", "--isa", "avx2"]) == 2
    assert "only the benchmark translate has the option --isa" in capsys.readouterr().err


def test_models_that_differ_in_weights_are_of_one_size():
    assert model_settings("bell") == model_settings("bell7") == model_settings("base")
    assert model_settings("base7") == model_settings("base")
    assert model_settings("big7") == model_settings("big")
    assert model_settings("big")["model_dim"] == 2 * model_settings("base")["model_dim"]


def test_a_products_row_ends_with_its_share_of_the_peak_where_there_is_one():
    plain = {**row("n", "c", 1.0, 2.0, "ms"), "gops": 80.4}
    assert format_rows([plain]).endswith("  80 GOP/s")
    shared = {**plain, "percent_of_int8_peak": 74.6}
    assert format_rows([shared]).endswith("80 GOP/s, 75 % of the INT8 peak")
    both = {**shared, "percent_in_fastest_turn": 86.1}
    assert format_rows([both]).endswith("75 % of the INT8 peak, 86 % in the fastest turn")
