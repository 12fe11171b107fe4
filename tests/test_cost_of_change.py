"""What a change costs: each toy below is added from here, and no file of the package is touched."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from keras_int8nmt.bench.benchmarks import BENCHMARKS, Benchmark
from keras_int8nmt.cli import main
from keras_int8nmt.cli.commands import COMMANDS
from keras_int8nmt.errors import KerasInt8nmtError


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
