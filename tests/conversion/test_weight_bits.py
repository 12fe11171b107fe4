"""Weights of 7 bits: chosen where sums saturate, carried by the model, exact anywhere."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.builtin_model import SHORT, calibrated_shallow, tokenizer
from helpers.models import make_data, make_transformer

from keras_int8nmt import (
    Translator,
    convert,
    load_folder,
    native,
    save_folder,
)
from keras_int8nmt.conversion.report import ConversionReport
from keras_int8nmt.storage import (
    builtin as builtin_model,
)

# Instruction sets whose u8 x s8 sums saturate, ours and oneDNN's name of each.
SATURATING = {
    "avx2": {"KERAS_INT8NMT_ISA": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx512": {"KERAS_INT8NMT_ISA": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
}
# Sums of extreme codes of both widths, and of mixed ones, against NumPy's; and the bits chosen.
PROGRAM = """
import json, sys
import numpy as np
from keras_int8nmt import native, ops
rng = np.random.default_rng(0)
wrong = []
for dtype, extremes in (("uint8", (0, 255)), ("int8", (-127, 127))):
    for limit in (127, 63):
        for kind in ("extreme", "mixed"):
            for m, k, n in ((1, 2, 1), (5, 64, 48), (33, 513, 70)):
                if kind == "extreme":
                    x = np.full((m, k), extremes[1]).astype(dtype)
                    x[m // 2] = extremes[0]
                    w = np.full((k, n), limit).astype(np.int8)
                    w[:, n // 2 :] = -limit
                else:
                    x = rng.integers(*extremes, (m, k), endpoint=True).astype(dtype)
                    w = rng.integers(-limit, limit, (k, n), endpoint=True).astype(np.int8)
                ones, zeros = np.ones(n, np.float32), np.zeros(n, np.float32)
                y = np.asarray(ops.int8_matmul(x, ops.pack_weights(w), ones, zeros))
                if not np.array_equal(y, (x.astype(np.int64) @ w.astype(np.int64)).astype("f4")):
                    wrong.append([dtype, limit, kind, m, k, n])
print(json.dumps({"wrong": wrong, "bits": native.weight_bits(), **native.info()}))
"""
TRANSLATE = """
import json, sys
from keras_int8nmt import Translator, load_folder, native
model, tokenizer, _ = load_folder(sys.argv[1])
found = {"info": native.info()}
for path in ("fast", "layers"):
    with Translator(model, tokenizer, beam_size=2, max_length=20, path=path) as translator:
        results = translator.translate(json.load(open(sys.argv[2])))
    found[path] = [[r.hypotheses[0].tokens, r.hypotheses[0].score] for r in results]
print(json.dumps(found))
"""


def needs_library():
    if native.functions() is None:
        pytest.skip(f"no native library: {native.reason()}")


def run(program, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if "this CPU can run" in done.stderr:
        pytest.skip(f"this CPU has not {environment['KERAS_INT8NMT_ISA']}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("gemm", "way", "bits"), [("onednn", "pairs", 7), ("madd", None, 8)], ids=["onednn", "madd"]
)
@pytest.mark.parametrize("isa", SATURATING)
def test_no_back_end_gives_sums_that_saturate_and_the_cpu_is_known_to(isa, gemm, way, bits):
    """That oneDNN's own sums are wrong there, and right for 7 bits, is in tests/cc/gemm_test.cc."""
    needs_library()
    found = run(PROGRAM, **SATURATING[isa], KERAS_INT8NMT_GEMM=gemm)
    assert found["isa"] == isa
    assert found["wrong"] == []
    assert (found["gemm"], found["gemm_way"]) == (gemm, way or isa)
    assert found["bits"] == bits


@pytest.mark.parametrize("isa", SATURATING)
def test_without_vnni_our_own_kernel_is_taken(isa):
    needs_library()
    found = run(
        "import json; from keras_int8nmt import native; print(json.dumps(native.info()))",
        **SATURATING[isa],
    )
    assert (found["gemm"], found["gemm_way"], found["weight_bits"]) == ("madd", isa, 8)


def test_stock_operations_are_exact_and_want_8_bits():
    found = run(PROGRAM, KERAS_INT8NMT_NATIVE="0")
    assert not found["native"]
    assert found["wrong"] == []
    assert found["bits"] == 8


def test_our_own_kernels_want_8_bits():
    needs_library()
    info = native.info()
    if info["gemm"] not in ("vnni", "madd", "i8mm", "dotprod", "neon", "reference"):
        pytest.skip(f"the back end is {info['gemm']}")
    assert native.weight_bits() == info["weight_bits"] == 8


def products(model):
    """Every INT8 product of a converted Transformer."""
    found = []
    for block in (*model.encoder_blocks, *model.decoder_blocks):
        for name in block.attentions:
            found.extend(getattr(block, name).products.values())
        found.extend([block.ffn_in.matmul, block.ffn_out.matmul])
    return [*found, model.output_projection.matmul]


@pytest.mark.parametrize(("bits", "largest"), [(7, 63), (8, 127)])
def test_all_weights_of_a_model_have_the_bits_that_were_asked_for(bits, largest):
    model = convert(make_transformer(), weight_bits=bits)
    found = products(model)
    # Self-attention twice: query_key_value and output; cross: query, key_value, output; two FFNs.
    assert len(found) == 2 * 2 + 3 + 2 * 2 + 1
    for product in found:
        np.testing.assert_array_equal(np.abs(product.kernel()).max(axis=0), largest)
    assert model.conversion_report.weight_bits == bits
    assert f"weights of {bits} bits" in model.conversion_report.to_text()


@pytest.mark.parametrize("bits", [7, 8])
def test_the_default_is_what_suits_the_cpu(monkeypatch, bits):
    monkeypatch.setattr(native, "weight_bits", lambda: bits)
    assert convert(make_transformer()).conversion_report.weight_bits == bits


def test_seven_bits_cost_about_6_db_of_a_product_and_the_report_says_so():
    data = make_data()
    rows = [
        convert(make_transformer(), sample=data, weight_bits=bits).conversion_report.rows
        for bits in (8, 7)
    ]
    lost = [a.output_sqnr_db - b.output_sqnr_db for a, b in zip(*rows, strict=True)]
    weights = [x for x, row in zip(lost, rows[0], strict=True) if row.kind == "weights"]
    assert all(0 < x < 7 for x in weights)
    assert all(x == 0 for x, row in zip(lost, rows[0], strict=True) if row.kind == "dynamic")


@pytest.mark.parametrize("bits", [6, 16, 7.0, True, "7"])
def test_other_bits_are_refused(bits):
    with pytest.raises(ValueError, match="`weight_bits` must be 7, 8 or None"):
        convert(make_transformer(), weight_bits=bits)


def test_reports_of_before_have_8_bits_and_wrong_ones_are_refused():
    report = ConversionReport([], 7)
    assert ConversionReport.from_json(report.to_json()) == report
    assert ConversionReport.from_json('{"rows": []}').weight_bits == 8
    with pytest.raises(ValueError, match='"weight_bits" of the report must be 7 or 8; found 4'):
        ConversionReport.from_json('{"rows": [], "weight_bits": 4}')


@functools.cache
def seven_bits():
    """A trained model in 7 bits, its tokenizer, and some sentences."""
    _, pairs = builtin_model.read_pairs()
    sentences = [source for source, _ in pairs[:40]]
    return convert(calibrated_shallow(), weight_bits=7), tokenizer(), sentences


def translations(model, tokenizer, sentences, path):
    with Translator(model, tokenizer, beam_size=2, path=path, **SHORT) as translator:
        results = translator.translate(sentences)
    return [[r.hypotheses[0].tokens, r.hypotheses[0].score] for r in results]


def test_both_paths_run_it_with_equal_bits_also_after_saving(tmp_path):
    needs_library()
    fast, layers = (translations(*seven_bits(), path) for path in ("fast", "layers"))
    assert fast == layers
    model, tokenizer, sentences = seven_bits()
    save_folder(model, tmp_path / "model", tokenizer)
    loaded, _, card = load_folder(tmp_path / "model")
    assert loaded.conversion_report.weight_bits == 7
    assert card["conversion_report"]["weight_bits"] == 7
    assert translations(loaded, tokenizer, sentences, "fast") == fast


def test_a_cpu_that_saturates_translates_with_the_same_bits(tmp_path):
    needs_library()
    model, tokenizer, sentences = seven_bits()
    save_folder(model, tmp_path / "model", tokenizer)
    (tmp_path / "sentences.json").write_text(json.dumps(sentences), encoding="utf-8")
    found = run(TRANSLATE, tmp_path / "model", tmp_path / "sentences.json", **SATURATING["avx2"])
    assert found["info"]["gemm"] == "madd"
    here = json.loads(json.dumps(translations(model, tokenizer, sentences, "fast")))
    assert found["fast"] == here
    assert found["layers"] == here
