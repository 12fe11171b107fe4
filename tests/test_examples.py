"""The examples run from training to INT8 translation, and what they promise is true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run_example(name, *arguments, folder):
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_train_quantize_translate(tmp_path):
    output = run_example("train_toy.py", folder=tmp_path)
    assert "saved toy.keras" in output
    assert float(output.rpartition("accuracy ")[2].split()[0]) > 0.98
    output = run_example("quantize.py", "--mode", "independent", folder=tmp_path)
    accuracy = [float(line.split()[-1]) for line in output.splitlines() if "accuracy" in line]
    assert accuracy[0] > 0.98
    assert accuracy[1] > accuracy[0] - 0.01
    output = run_example(
        "fine_tune.py", "--mode", "naive", "--output", "tuned.keras", folder=tmp_path
    )
    losses = [float(line.split()[-1]) for line in output.splitlines() if "INT8 loss" in line]
    assert losses[1] < losses[0]
    assert "->" in output
    assert "saved tuned.keras" in output
    output = run_example("translate.py", "--text", "3 1 4 1 5", "7 2", folder=tmp_path)
    # Both models reverse both lines.
    assert output.count("3 1 4 1 5  ->  5 1 4 1 3") == 2
    assert output.count("7 2  ->  2 7") == 2
