"""The ops with any arguments, from Python: no process may die of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_int8nmt import native

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fuzz_ops.py"


@pytest.mark.slow
@pytest.mark.skipif(native.reason() is not None, reason="no native library")
def test_no_call_of_an_op_ends_a_process():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, SCRIPT, "--calls", "100000", "--processes", "2"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100000 calls, 0 crashes" in done.stdout
    # Most calls are answered: the fuzzer is no wall of errors.
    answered = int(done.stdout.rpartition("'ok': ")[2].split("}")[0].split(",")[0])
    assert answered > 40000
