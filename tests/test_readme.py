"""The examples of README and docs/start.md run as they are pasted, beside a tiny Marian model."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_int8nmt import native
from keras_int8nmt.storage.builtin import FOLDER

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "data" / "marian" / "relu"
TOKENIZER_FILES = ("source.spm", "target.spm", "vocab.json")
WORDS, SPECIAL = 6001, 6000


def blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def make_marian(folder: Path) -> None:
    """A tiny Marian model with as many words as the tokenizer inside the package has."""
    numpy = pytest.importorskip("safetensors.numpy")
    folder.mkdir()
    for name in TOKENIZER_FILES:
        shutil.copy(FOLDER / name, folder)
    config = json.loads((GOLDEN / "config.json").read_text(encoding="utf-8"))
    config |= {"vocab_size": WORDS, "decoder_vocab_size": WORDS}
    config |= {"pad_token_id": SPECIAL, "decoder_start_token_id": SPECIAL}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    rng = np.random.default_rng(0)
    tensors = numpy.load_file(GOLDEN / "model.safetensors")
    for name, tensor in tensors.items():
        shape = tuple(WORDS if size == 50 else size for size in tensor.shape)
        if shape != tensor.shape:
            tensors[name] = rng.normal(0, 0.3, shape).astype(tensor.dtype)
    numpy.save_file(tensors, folder / "model.safetensors")


@pytest.mark.skipif(native.library() is None, reason=f"no native library: {native.reason()}")
@pytest.mark.parametrize(("page", "least"), [("README.md", 1), ("docs/start.md", 2)])
def test_the_examples_run_as_they_are_pasted(page, least, tmp_path):
    make_marian(tmp_path / "opus-mt-en-de")
    examples = blocks(ROOT / page)
    assert len(examples) >= least
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "MatMuls" in done.stdout
    assert (tmp_path / "en-de-int8" / "spec.json").is_file()
    if least == 1:
        return
    assert (tmp_path / "en-de-served" / "saved_model.pb").is_file()


@pytest.mark.skipif(native.library() is None, reason=f"no native library: {native.reason()}")
def test_the_pages_command_finds_the_library_of_ops():
    commands = re.findall(
        r'^    python -c "(.*)"$', (ROOT / "docs" / "start.md").read_text(), re.MULTILINE
    )
    assert len(commands) == 1
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", commands[0]],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_file()
