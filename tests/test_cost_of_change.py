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
import tensorflow as tf
from keras import ops

from keras_int8nmt import CalibrationCallback, QuantDense, Translator, convert, native
from keras_int8nmt.autotuning.costs import Workload, matmul_times
from keras_int8nmt.bench.benchmarks import BENCHMARKS, Benchmark
from keras_int8nmt.calibration import observers, simulate
from keras_int8nmt.cli import main
from keras_int8nmt.cli.command_line import make_parser
from keras_int8nmt.cli.commands import COMMANDS
from keras_int8nmt.conversion import register_converter
from keras_int8nmt.conversion import table as converters
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.importers import table
from keras_int8nmt.importers.table import Format, has_file
from keras_int8nmt.layers.inference.frozen_layer import FrozenLayer, as_codes
from keras_int8nmt.layers.inference.packed_matmul import PackedMatmul, Section
from keras_int8nmt.layers.matmuls import WeightMatMul, matrix
from keras_int8nmt.layers.observing.observer import Observer
from keras_int8nmt.layers.quant_layer import QuantLayer
from keras_int8nmt.models.build import build_transformer
from keras_int8nmt.quantization import dequantize, quantize, quantize_weights
from keras_int8nmt.runtime.token_filters import TokenFilter
from keras_int8nmt.storage.model_folder import open_model
from keras_int8nmt.thresholds import modes
from keras_int8nmt.thresholds.modes import ThresholdMode, register_mode
from keras_int8nmt.thresholds.sides import Sides
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


TOY = SimpleNamespace(add_options=add_toy_options, run=say)


def test_a_command_is_a_file_and_a_row(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(COMMANDS, "say", "Say a word.")
    monkeypatch.setitem(sys.modules, "keras_int8nmt.cli.say", TOY)
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
    assert sorted(card["files"]) == [
        "model.keras",
        "spec.json",
        "spec.safetensors",
        "toy_letters.txt",
    ]

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


RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(64, 12)).astype(np.float32)


# ---- a layer type: the layer, its frozen form, and a row ----


class QuantPair(keras.layers.Layer, QuantLayer):
    """`x @ kernel` twice over one input: the sum of both halves of the kernel's columns."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.watched = Observer(name="watched")

    def build(self, shape):
        self.pair = self.add_weight(shape=(shape[-1], 2, self.units), initializer="normal")
        self.watched.build(shape)
        self.built = True

    def call(self, inputs):
        x = self.watched.watch(inputs)
        both = ops.einsum("...k,kpn->...pn", x, self.watched.quantize_weights(self.pair, 1))
        return ops.sum(both, axis=-2)

    def matmuls(self):
        return [WeightMatMul(self.path, lambda: matrix(self.pair), None, (self.watched,), "pair")]


class Int8Pair(FrozenLayer):
    """What `QuantPair` becomes."""

    def __init__(self, units, params, kernel, rule, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.params = params
        self.product = PackedMatmul.from_float([Section(kernel, None)], params, **rule)

    def call(self, inputs):
        both = self.product(as_codes(inputs, self.params), out_dtype="float32")
        return both[..., : self.units] + both[..., self.units :]

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((*inputs.shape[:-1], self.units), dtype="float32")


def convert_pair(layer, assignment):
    (matmul,) = layer.matmuls()
    if not assignment.is_int8(matmul.name):
        raise NotImplementedError
    (observer,) = matmul.observers
    rule = assignment.options.weight_rule
    return Int8Pair(layer.units, observer.params(), matmul.kernel(), rule, name=layer.name)


@pytest.fixture
def pair_registered(monkeypatch):
    monkeypatch.setattr(converters, "_CONVERTERS", dict(converters._CONVERTERS))
    register_converter(QuantPair, convert_pair)


@pytest.fixture
def pair_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((12,)), QuantPair(5, name="toy"), QuantDense(3)])
    model.predict(DATA, verbose=0, callbacks=[CalibrationCallback()])
    return model


def output_sqnr_of(layer, x):
    """In plain NumPy, with per-channel weights."""
    kernel = matrix(layer.pair)
    codes, scale = quantize_weights(kernel, True, native.weight_bits())
    params = layer.watched.params()
    coarse = dequantize(quantize(x, params), params) @ (codes.astype(np.float32) / scale)
    exact = x @ kernel
    return 10 * np.log10(np.sum(exact**2) / np.sum((exact - coarse) ** 2))


class TestALayerType:
    @pytest.mark.usefixtures("pair_registered")
    def test_is_calibrated_simulated_converted_and_reported_by_its_own_matmul(self, pair_model):
        toy = pair_model.layers[0]
        assert toy.watched.path in [path for path, _ in observers(pair_model)]
        assert toy.watched.is_calibrated
        exact = pair_model(DATA).numpy()
        simulate(pair_model)
        simulated = pair_model(DATA).numpy()
        simulate(pair_model, enabled=False)
        assert 0 < np.abs(simulated - exact).max() < 0.05 * np.abs(exact).max()
        int8 = convert(pair_model, sample=DATA)
        assert type(int8.layers[0]) is Int8Pair
        if native.weight_bits() == 8:  # what `simulate` knows
            np.testing.assert_allclose(int8(tf.constant(DATA)), simulated, atol=1e-5)
        row = int8.conversion_report.rows[0]
        assert (row.name, row.kind, row.precision) == (f"{toy.path}/pair", "weights", "int8")
        assert row.thresholds == tuple(float(t) for t in toy.watched.thresholds())
        assert row.output_sqnr_db == pytest.approx(output_sqnr_of(toy, DATA), abs=0.01)

    def test_costs_what_its_own_matmul_costs(self, pair_model):
        """Of twice the columns, twice the time; attention would have six MatMuls."""
        times = matmul_times(pair_model, Workload())
        same = keras.Sequential([keras.Input((12,)), QuantDense(5)])
        (single,) = matmul_times(same, Workload()).values()
        toy, _ = times.values()
        assert list(times) == [f"{pair_model.layers[0].path}/pair", pair_model.layers[1].path]
        assert toy.int8 == pytest.approx(2 * single.int8)
        assert toy.float32 == pytest.approx(2 * single.float32)

    def test_that_nobody_registered_is_named_and_stays_float(self, pair_model):
        int8 = convert(pair_model, sample=DATA)
        row = int8.conversion_report.rows[0]
        assert (row.name, row.precision) == (pair_model.layers[0].path, "float32")
        assert row.reason == "QuantPair has no INT8 form"
        assert row.output_sqnr_db is None
        assert type(int8.layers[0]) is QuantPair

    def test_must_answer_for_itself_and_is_registered_once(self):
        with pytest.raises(ValueError, match="Dense must be a QuantLayer"):
            register_converter(keras.layers.Dense, convert_pair)
        with pytest.raises(ValueError, match="QuantDense has a converter already"):
            register_converter(QuantDense, convert_pair)


# ---- a threshold mode: a function, and a row ----


def half_range(sides: Sides):
    """Half of the largest magnitude, on both sides."""
    half = max(-sides.low, sides.high) / 2
    return -half, half


@pytest.fixture
def half_registered(monkeypatch):
    monkeypatch.setattr(modes, "_TABLE", dict(modes._TABLE))
    register_mode(ThresholdMode("half", "half of the largest magnitude", half_range))


@pytest.mark.usefixtures("half_registered")
class TestAThresholdMode:
    def test_is_accepted_and_used_by_calibration(self):
        model = keras.Sequential([keras.Input((12,)), QuantDense(3)])
        callback = CalibrationCallback(mode="half")
        model.predict(DATA, verbose=0, callbacks=[callback])
        half = np.float32(np.abs(DATA).max() / 2)
        assert list(callback.thresholds.values()) == [(-half, half)]

    def test_is_accepted_by_the_command_line_and_told_of_in_its_help(self, capsys):
        command = ["calibrate", "model", "--data", "file", "-o", "out"]
        assert make_parser().parse_args([*command, "--mode", "half"]).mode == "half"
        with pytest.raises(SystemExit):
            make_parser().parse_args(["calibrate", "--help"])
        told = " ".join(capsys.readouterr().out.split())
        assert "half: half of the largest magnitude" in told
        with pytest.raises(SystemExit):
            make_parser().parse_args([*command, "--mode", "quarter"])
        assert "entropy, half, or 'percentile:' and a number" in capsys.readouterr().err

    def test_takes_no_name_that_there_is(self):
        with pytest.raises(ValueError, match="a calibration mode 'half' already"):
            register_mode(ThresholdMode("half", "again", half_range))
        with pytest.raises(ValueError, match="can't be the name"):
            register_mode(ThresholdMode("half:", "a colon", half_range))
