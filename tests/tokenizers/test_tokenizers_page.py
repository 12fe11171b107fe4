"""docs/tokenizers.md: its example runs, and its tables tell what there is."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import pytest
from helpers.models import calibrate_on_sentences

from keras_int8nmt import build_transformer, convert, tokenizers
from keras_int8nmt.cli import main
from keras_int8nmt.tokenizers import adapters, kinds

PAGE = (Path(__file__).parents[2] / "docs" / "tokenizers.md").read_text(encoding="utf-8")
MODULE, USE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LETTERS = "abcdefgh "


@pytest.fixture
def letters(tmp_path, monkeypatch):
    monkeypatch.setattr(kinds, "KINDS", list(kinds.KINDS))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letters.txt").write_text(LETTERS)
    keras.utils.set_random_seed(1)
    model = build_transformer(
        source_vocabulary_size=2 + len(LETTERS),
        num_encoder_layers=1,
        num_decoder_layers=1,
        model_dim=8,
        num_heads=2,
        ffn_dim=16,
        max_length=12,
        pad_id=0,
        eos_id=1,
        start_id=0,
    )
    return {"model": model, "folder": tmp_path}


def test_the_example_runs_and_so_does_the_command(letters, tmp_path, monkeypatch):
    exec(MODULE, letters)
    calibrate_on_sentences(letters["model"], letters["Letters"](tmp_path), ["abba", "a bad cab"])
    letters["model"] = convert(letters["model"])
    exec(USE, letters)
    (before,) = letters["before"]
    assert before
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "page_letters.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "users")
    monkeypatch.setattr(kinds, "KINDS", [each for each in kinds.KINDS if not each.registered])
    (tmp_path / "in.txt").write_text("a bad cab\n")
    words = ["translate", "letters-int8", "in.txt", "-o", "out.txt", "--beam-size", "2"]
    assert main(words) == 2
    assert main(["--import", "page_letters", *words]) == 0
    assert (tmp_path / "out.txt").read_text() == f"{before}\n"


def test_the_tables_tell_each_kind_and_each_object():
    for kind in kinds.KINDS:
        assert f"`{kind.name}(" in PAGE
        assert f"`{kind.mark}`" in PAGE
    rows = PAGE.partition("## Objects of other libraries")[2].partition("\n\n- ")[0].count("\n| ")
    assert rows == 2 + len(adapters.ADAPTERS)
    protocol = tokenizers.Tokenizer.__doc__
    for name in ("encode_target", "source_eos", "has_text", "remark", "source_ids", "save"):
        assert f"`{name}" in PAGE
        assert f"`{name}" in protocol
