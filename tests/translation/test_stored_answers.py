"""The built-in model answers as it did on the CPU that made the stored file, bit for bit."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from keras_int8nmt import native

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_spec_answers.py"


def test_the_built_in_model_gives_the_stored_tokens_and_scores():
    """Emulated ARM CPUs are held to the same file, by .ci/arm."""
    if native.reason() is not None:
        pytest.skip("no native library")
    of = importlib.util.spec_from_file_location("make_spec_answers", SCRIPT)
    assert of is not None
    assert of.loader is not None
    script = importlib.util.module_from_spec(of)
    of.loader.exec_module(script)
    answers = script.answers_here(script.dynamic_model())
    assert answers == script.GOLDEN.read_text()
    assert answers.count("source") == len(script.BEAMS) * script.SENTENCES
