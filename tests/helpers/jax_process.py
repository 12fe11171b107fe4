"""Runs a script of `jax_checks/` in a process whose Keras stands on JAX."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def check_on_jax(name: str) -> None:
    """Runs `jax_checks/NAME.py`, which ends by saying that all is well."""
    script = Path(__file__).with_name("jax_checks") / f"{name}.py"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
    command = [sys.executable, str(script)]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("jax ok")
