"""Every example in Python on every page runs: here, or in the test that is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_int8nmt import native

ROOT = Path(__file__).resolve().parents[1]
DOCS = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "generated" not in path.parts]
# Pieces of programs, which run after these names were given their values; the last two give them
# others.
HERE = [
    "report.md",
    "corpus.md",
    "deploy.md",
    "importers.md",
    "any-keras-model.md",
]
BEFORE = """
import sys, tensorflow as tf
from pathlib import Path
sys.path.insert(0, {examples!r})
from opus_mt_stand_in import write_opus_mt_folder
from keras_int8nmt import Translator, calibrate, convert, load_model, save_folder
from keras_int8nmt.storage.builtin import read_pairs

write_opus_mt_folder("opus-mt-en-de")
sources, references = map(list, zip(*read_pairs()[1][:20]))
sentences = sources
model, tokenizer, _ = load_model("opus-mt-en-de")
calibrate(model, tokenizer, sources)
save_folder(convert(model), "en-de-int8", tokenizer)
Path("news.en").write_text("".join(source + "\\n" for source in sources), "utf-8")
"""
ELSEWHERE = {
    "start.md": "test_readme.py",
    "qat.md": "layers/test_qat_docs.py",
    "tokenizers.md": "tokenizers/test_tokenizers_page.py",
}
# Of these the first example alone, after all others.
FIRST = {"keras-manners.md": "the second exports to ONNX by what CI does not install"}
# Those ask for more than CI installs, or for a service that runs on.
NOT_RUN = {
    "clusters.md": "Ray, Spark and datasets; those of Ray Serve run in clusters/test_ray_serve.py",
    "serving.md": "the extra `serve`; what it makes is tests/serving's",
}


def blocks(page: Path) -> list[str]:
    return [piece.partition("```")[0] for piece in page.read_text("utf-8").split("```python\n")[1:]]


def test_each_page_with_examples_has_a_test_that_runs_them():
    with_examples = {page.name for page in DOCS if blocks(page)}
    assert with_examples == {*HERE, *ELSEWHERE, *FIRST, *NOT_RUN}
    for page, test in ELSEWHERE.items():
        assert page in (ROOT / "tests" / test).read_text("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(native.library() is None, reason=f"no native library: {native.reason()}")
def test_pieces_of_programs_run(tmp_path):
    pytest.importorskip("safetensors")
    pytest.importorskip("matplotlib")
    program = BEFORE.format(examples=str(ROOT / "examples"))
    for page in HERE:
        program += f"print({page!r})\n"
        program += "".join(blocks(ROOT / "docs" / page)).replace("\n...\n", "\n")
    for page in FIRST:
        program += f"print({page!r})\n" + blocks(ROOT / "docs" / page)[0]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Bahnhof") >= 2  # of importers.md and deploy.md
    assert float(done.stdout.split()[-1]) == 0  # of keras-manners.md
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "matmuls.png").is_file()
