"""What a change costs: each toy below is added from here, and no file of the package is touched."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import keras
import numpy as np
import pytest

from keras_int8nmt import Translator
from keras_int8nmt.bench.benchmarks import BENCHMARKS, Benchmark
from keras_int8nmt.cli import main
from keras_int8nmt.cli.commands import COMMANDS
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.importers import table
from keras_int8nmt.importers.table import Format, has_file
from keras_int8nmt.models.build import build_transformer
from keras_int8nmt.runtime.token_filters import TokenFilter
from keras_int8nmt.storage.model_folder import open_model
from keras_int8nmt.tokenizers import kinds
from keras_int8nmt.tokenizers.kinds import TokenizerKind


class ToyError(KerasInt8nmtError, ValueError):
    """The word is not to be said."""


def say(word, times):
    if word == "nothing":
        raise ToyError("There is nothing\nto say.")
    print(" ".join([word] * times))
    return {"said": times}


def add_toy_options(parser):
    parser.add_argument("word")
    parser.add_argument("--times", type=int, default=2)


TOY = SimpleNamespace(SUMMARY="Say a word.", add_options=add_toy_options, run=say)


def test_a_command_is_a_file_and_a_row(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(COMMANDS, "say", TOY)
    assert main(["say", "Guten", "--json", str(tmp_path / "f.json")]) == 0
    assert capsys.readouterr().out == "Guten Guten\n"
    assert json.loads((tmp_path / "f.json").read_text()) == {"said": 2}
    assert main(["say", "nothing"]) == 2
    assert capsys.readouterr().err == "keras-int8nmt say: There is nothing to say.\n"
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "Say a word." in capsys.readouterr().out


def test_a_benchmark_is_a_file_and_a_row(monkeypatch, capsys):
    toy = ModuleType("toy_benchmark")
    row = {"name": "toy", "case": "a", "unit": "us", "ratio": 2.0, "spread": None}
    toy.run = lambda lines=1: {"machine": {"cores": 1}, "rows": [{**row, "ours": lines, "peer": 2}]}
    monkeypatch.setitem(sys.modules, "toy_benchmark", toy)
    monkeypatch.setitem(BENCHMARKS, "toy", Benchmark("toy_benchmark:run", ("lines",)))
    assert main(["bench", "toy", "--lines", "4"]) == 0
    out = capsys.readouterr().out
    assert "cores: 1" in out
    assert out.splitlines()[-1].split() == ["toy", "a", "4", "2", "us", "2.00x", "-"]
    assert main(["bench", "toy", "--full"]) == 2


TOY_LETTERS = "abcdefgh "
TOY_FORMAT = Format(
    name="toy",
    mark="toy.npz",
    recognises=has_file("toy.npz"),
    load=("toy_importer", "load_toy"),
    tokenizer=("toy_tokenizer", "ToyTokenizer"),
)
TOY_TOKENIZER = TokenizerKind(
    "toy_letters.txt", ("toy_letters.txt",), "toy_tokenizer", "ToyTokenizer"
)


def test_an_importer_is_its_file_that_of_its_tokenizer_and_their_rows(monkeypatch, tmp_path, capfd):
    monkeypatch.syspath_prepend(Path(__file__).parent / "importers" / "toy")
    monkeypatch.setattr(table, "FORMATS", [*table.FORMATS, TOY_FORMAT])
    monkeypatch.setattr(kinds, "KINDS", [*kinds.KINDS, TOY_TOKENIZER])
    from toy_importer import save_toy

    toy, data = tmp_path / "toy", tmp_path / "data.txt"
    toy.mkdir()
    save_toy(toy, 0, TOY_LETTERS)
    (toy / "toy_letters.txt").write_text(TOY_LETTERS)
    sentences = ["abba", "bad cab", "head", "a"]
    data.write_text("".join(line + "\n" for line in sentences))

    def run(*arguments):
        assert main([str(a) for a in arguments]) == 0

    search = ("--max-length", "8", "--beam-size", "2")
    run("translate", toy, data, "-o", tmp_path / "float.txt", *search)
    run("calibrate", toy, "--data", data, "-o", tmp_path / "calibrated")
    run("convert", tmp_path / "calibrated", "-o", tmp_path / "int8")
    run("translate", tmp_path / "int8", data, "-o", tmp_path / "int8.txt", *search)

    for folder, written in ((toy, "float.txt"), (tmp_path / "int8", "int8.txt")):
        model, tokenizer, card = open_model(folder, quant=False)
        with Translator(model, tokenizer, beam_size=2, max_length=8) as translator:
            expected = translator(sentences)
        assert (tmp_path / written).read_text().split("\n")[:-1] == expected
        assert len(set(expected)) > 1
    # Its tokenizer is saved with the models that come out of it.
    assert sorted(card["files"]) == ["model.keras", "toy_letters.txt"]

    np.savez(toy / "toy.npz", vocabulary_size=11)
    capfd.readouterr()
    assert main(["calibrate", str(toy), "--data", str(data), "-o", str(tmp_path / "again")]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "toy.npz has no tensor" in err


@dataclass(frozen=True)
class Rising(TokenFilter):
    """Every token is larger than the one before."""

    def forbidden(self, tokens):
        return range(2, tokens[-1] + 1) if tokens else ()


def test_a_token_filter_is_a_class():
    keras.utils.set_random_seed(4)
    model = build_transformer(
        source_vocabulary_size=20,
        num_encoder_layers=1,
        num_decoder_layers=1,
        model_dim=8,
        num_heads=2,
        ffn_dim=8,
        max_length=12,
        pad_id=0,
        eos_id=1,
        start_id=0,
    )
    ids = [[7, 5, 1], [9, 9, 4, 1], [1]]
    options = {"beam_size": 3, "num_hypotheses": 3, "max_length": 8, "min_length": 5}

    def found(**more):
        translator = Translator(model, None, **options, **more)
        return [h.tokens[:-1] for r in translator.translate_ids(ids) for h in r.hypotheses]

    assert any(tokens != sorted(set(tokens)) for tokens in found(path="layers"))
    rising = found(token_filters=[Rising()])
    assert rising
    assert all(tokens == sorted(set(tokens)) for tokens in rising)
    translator = Translator(model, None, token_filters=[Rising()])
    assert translator.path == "layers"
    if Translator(model, None).path == "fast":
        assert translator.path_reason == "the native decoder has no token filter Rising"
