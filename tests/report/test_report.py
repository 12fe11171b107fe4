"""The report: what it collects, that the page holds all of it, loads nothing and escapes text."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from helpers.models import calibrate_eagerly, make_data, make_transformer

from keras_int8nmt import convert, quantize_model, write_report
from keras_int8nmt.calibration import Histogram, observers
from keras_int8nmt.conversion.report import ConversionReport, MatMulRow
from keras_int8nmt.evaluation.measure import Evaluation
from keras_int8nmt.files.lines import TextFileError
from keras_int8nmt.quantization import QuantParams, params_from_thresholds
from keras_int8nmt.report import collect, compare_translations, render
from keras_int8nmt.report.data import MOST_BARS, ReportData, describe_tensor, reduce_histogram
from keras_int8nmt.report.quality import Interval
from keras_int8nmt.report.reasons import reasons_of
from keras_int8nmt.report.svg import axis_ticks, intervals_svg, tick_text
from keras_int8nmt.report.text import (
    between,
    decibels,
    group_of,
    megabytes,
    number_text,
    p_text,
    percent,
    short_count,
    signed,
)

HOSTILE = """<script>document.documentElement.dataset.hacked = "yes"</script>"""
ATTRIBUTE = """"><img src="http://example.org/x.png" onerror='alert(1)'>"""


class Page(HTMLParser):
    """The elements of a page with their attributes, and all its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "wbr", "link", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self):
        return "".join(self.text)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def quality(before=("Guten Tag.", "Ja."), after=("Guten Abend.", "Ja.")):
    return compare_translations(before, after, ["Good day.", "Yes."], ["Guten Tag.", "Ja."])


@pytest.fixture(scope="module")
def model():
    return make_transformer()


@pytest.fixture(scope="module")
def data(model):
    return collect(model, converted=convert(model, sample=make_data()), quality=quality())


@pytest.fixture(scope="module")
def page(data):
    return Page(render(data))


def test_every_observer_is_in_the_page(model, page):
    text = page.words
    labels = " ".join(a.get("aria-label", "") for a in page.all("svg"))
    for path, observer in observers(model):
        assert path in text
        if observer.is_calibrated:
            assert f"Histogram of {path}: " in labels
    assert len(page.all("figure")) == sum(o.is_calibrated for _, o in observers(model))


def test_thresholds_and_figures_are_those_of_the_model(model, data, page):
    calibrated = [(p, o) for p, o in observers(model) if o.is_calibrated]
    assert [t.path for t in data.tensors] == [p for p, _ in calibrated]
    text = page.words
    for tensor, (_, observer) in zip(data.tensors, calibrated, strict=True):
        assert (tensor.low, tensor.high) == tuple(map(float, observer.thresholds()))
        assert between(tensor.low, tensor.high) in text
        assert tensor.code == observer.params().dtype
        assert sum(tensor.bars.counts) == tensor.values == observer.to_histogram().total
        assert len(tensor.bars.counts) <= MOST_BARS


def test_every_matmul_is_in_the_page(data, page):
    text = page.words
    assert len(data.matmuls) == 23
    for row in data.matmuls:
        assert row.name in text
        assert decibels(row.input_sqnr_db) in text
        assert decibels(row.output_sqnr_db) in text
    assert "23 of 23" in text
    assert "Output SQNR" in text


def test_floats_and_their_reasons_are_in_the_page(model):
    text = Page(render(collect(model, converted=convert(model, policy="paper")))).words
    assert 'policy="paper": products of two tensors (QK, AV) stay float' in text
    assert 'policy="paper": stays float, since its input comes out of a ReLU' in text
    # Not measured without a sample, and the page says so.
    assert "Output SQNR" not in text
    assert "SQNR of the MatMuls' outputs" in text


def cards(page_data):
    """The figures at the top of a page, by their names."""
    text = render(page_data)
    found = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)(?:<small>(.*?)</small>)?</dd></div>", text)
    return {unescape(name): (value, unescape(remark)) for name, value, remark in found}


def test_bits_cpu_speed_and_size_are_cards_at_the_top(model, data):
    top = cards(data)
    assert top["Weight bits"][0] == str(data.weight_bits) == "8"
    assert top["CPU that this was made on"][0] == data.machine.cpu
    assert f"{data.machine.cores} core" in top["CPU that this was made on"][1]
    # Float weights take four bytes each, without what observers keep.
    trainable = sum(math.prod(w.shape) for w in model.trainable_weights)
    assert data.float_bytes == 4 * trainable
    assert data.int8_bytes < data.float_bytes / 2
    name = "Size of the weights, float to INT8"
    assert top[name][0] == f"{megabytes(data.float_bytes)} → {megabytes(data.int8_bytes)}"
    # What was not measured says how to.
    assert "--src and --ref" in top["Speed"][1]
    measured = {"bleu": 1.0, "chrf": 1.0, "signature": "", "sentences": 2, "target_tokens": 9}
    measured |= {"seconds": 1.0, "peak_rss_mb": 1.0, "precision": "int8", "gemm": "vnni"}
    before, after = (Evaluation(**measured, tokens_per_second=n) for n in (1000.0, 2500.0))
    compared = replace(data.quality, before=before, after=after)
    speed = cards(replace(data, quality=compared))["Speed, float to INT8"]
    assert speed == ("1,000 → 2,500 tokens/s", "2.50 times as fast; one run")
    alone = cards(replace(data, quality=replace(compared, before=None)))
    assert alone["Speed, INT8"][0] == "2,500 tokens/s"


def test_a_converted_model_tells_its_bits_and_its_size(model):
    seven = convert(model, weight_bits=7)
    top = cards(collect(seven))
    assert top["Weight bits"] == ("7", "made for CPUs without VNNI")
    assert top["Size of the weights, INT8"][0] == megabytes(collect(seven).int8_bytes)
    # A conversion report of Keras alone says nothing of bits.
    seven.conversion_report = None
    assert "Weight bits" not in cards(collect(seven))


def test_contents_lead_to_every_section(data, page):
    text = render(data)
    contents = re.search(r'<nav class="contents".*?</nav>', text)[0]
    assert re.findall(r'href="#(\w+)"', contents) == re.findall(r'<h2 id="(\w+)">', text)
    assert len(page.all("h2")) >= 4
    empty = render(ReportData("m", "converted", "int8", {}, missing=("Everything.",)))
    assert "Find layers" not in empty
    assert 'href="#matmuls"' not in empty


@pytest.mark.parametrize(
    ("precision", "reason", "expected"),
    [
        ("int8", "", [("default", "INT8, as every MatMul")]),
        ("int8", "policy: paper", [("policy", 'policy="paper": weights')]),
        ("float32", "policy: paper, sparse input", [("policy", "comes out of a ReLU")]),
        ("float32", "policy: float32", [("policy", 'policy="float32"')]),
        ("float32", "policy: by name", [("policy", "the file of autotune")]),
        ("float32", "policy: by function", [("policy", "function")]),
        (
            "int8",
            "policy: by name; dynamic scales",
            [("policy", "named"), ("option", 'activations="dynamic"')],
        ),
        ("float32", "dynamic scales, product of two tensors", [("option", "stay float")]),
        ("float32", "LSTM has no INT8 form", [("layer", "LSTM has no INT8 form")]),
        ("float32", "", [("layer", "no reason was kept")]),
    ],
)
def test_reasons_say_which_rule_option_or_layer_decided(precision, reason, expected):
    found = reasons_of(MatMulRow("a", "weights", precision, reason))
    assert [source for source, _ in found] == [source for source, _ in expected]
    for (_, text), (_, part) in zip(found, expected, strict=True):
        assert part in text


class Odd(keras.layers.Dense):
    """What nobody knows to compute what a Dense does."""


def test_a_layer_that_quantize_model_left_out_says_why():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(4, name="one")(inputs)
    x = keras.layers.Dense(4, name="two")(x)
    plain = keras.Model(inputs, Odd(2, name="three")(x))
    quant = quantize_model(plain, filters="one|three")
    calibrate_eagerly(quant, np.ones((2, 4), np.float32), mode="naive")
    rows = {row.name: reasons_of(row) for row in collect(quant).matmuls}
    assert rows["one"][0].source == "default"
    assert rows["two"] == [("filter", "left as it was by `filters` of quantize_model")]
    # What quantize_model says of the layer itself.
    assert rows["three"] == [("layer", "Odd is a Dense that its class may have changed")]
    # A model that was loaded does not know of its filters any more.
    del quant.quantization_report
    (source, text) = reasons_of({r.name: r for r in collect(quant).matmuls}["two"])[0]
    assert source == "layer"
    assert "quantize_model did not replace it" in text


def test_every_policy_of_conversion_has_its_meaning(model):
    names = [row.name for row in convert(model).conversion_report.rows]
    policies = ["paper", "float32", {names[0]: "float32"}, lambda name: "int8"]
    for policy in policies:
        for row in convert(model, policy=policy).conversion_report.rows:
            assert all(source in ("policy", "default") for source, _ in reasons_of(row)), row
    for row in convert(model, activations="dynamic").conversion_report.rows:
        assert [source for source, _ in reasons_of(row)][-1] == "option"


def test_classes_are_explained_and_counted(data, page):
    for kind in ("sparse", "narrow", "gaussian"):
        count = sum(t.kind == kind for t in data.tensors)
        assert f"{kind.capitalize()} {count} of {len(data.tensors)}" in page.words
    assert "section 4.2" in page.words
    assert "At least half of the values are zero" in page.words


@pytest.mark.parametrize(
    ("low", "high"), [(31.7, 34.2), (-0.68, 0.25), (50.0, 50.0), (0.0, 100.0), (-1e-3, 2e-3)]
)
def test_an_axis_has_round_numbers_around_what_it_shows(low, high):
    ticks = axis_ticks(low, high)
    assert 3 <= len(ticks) <= 7
    assert ticks[0] <= low
    assert ticks[-1] >= high
    steps = np.diff(ticks)
    assert steps == pytest.approx([steps[0]] * len(steps))
    texts = [tick_text(tick, steps[0]) for tick in ticks]
    assert len(set(texts)) == len(texts)
    numbers = [float(text.replace("\N{MINUS SIGN}", "-")) for text in texts]
    assert numbers == pytest.approx(ticks)


def test_intervals_lie_inside_their_picture_above_an_axis_with_numbers():
    for zero in (False, True):
        text = intervals_svg("BLEU", [("INT8", Interval(31.0, 30.9, 0.8))], zero)
        (box,) = re.findall(r'viewBox="0 0 (\d+) (\d+)"', text)
        width, height = map(float, box)
        circles = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', text)
        assert all(0 < float(x) < width and 0 < float(y) < height for x, y in circles)
        for path in re.findall(r'class="range" d="M([\d.]+) [\d.]+H([\d.]+)', text):
            assert all(0 < float(x) < width for x in path)
        numbers = re.findall(r'text-anchor="middle">([\d.]+)<', text)
        assert len(numbers) >= 3
        assert ('class="zero"' in text) is zero


def test_the_page_loads_nothing(page):
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        if "href" in attributes:
            assert attributes["href"].startswith("#")
    policies = [a["content"] for a in page.all("meta") if "content" in a]
    assert any(p.startswith("default-src 'none'") for p in policies)


def test_the_page_names_no_address(data):
    assert "http:" not in render(data)
    assert "https:" not in render(data)
    assert "url(" not in render(data)
    assert "@import" not in render(data)


def test_the_page_is_accessible(page):
    assert page.all("html")[0]["lang"] == "en"
    assert page.elements[0][0] == "html"
    assert not page.open
    assert len(page.all("title")) == len(page.all("h1")) == 1
    assert all(a["role"] == "img" and a["aria-label"] for a in page.all("svg"))
    assert all(a["scope"] in ("col", "row") for a in page.all("th"))
    names = [a["id"] for _, a in page.elements if "id" in a]
    assert len(names) == len(set(names))
    for _, attributes in page.elements:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in names
        if "href" in attributes:
            assert attributes["href"].removeprefix("#") in names


def test_text_is_escaped_wherever_it_stands():
    texts = [f"{HOSTILE} one", f"{ATTRIBUTE} two"]
    tensor = describe_tensor(
        f"m/{HOSTILE}/{ATTRIBUTE}",
        Histogram().add(np.array([1.0, -1.0])),
        (-1.0, 1.0),
        QuantParams(np.float32(127)),
    )
    row = MatMulRow(ATTRIBUTE, HOSTILE, "float32", ATTRIBUTE)
    facts = {"thresholds_mode": HOSTILE, "data": {"sentences": HOSTILE, "source": ATTRIBUTE}}
    compared = compare_translations(texts, [HOSTILE, ATTRIBUTE], texts, texts)
    page = Page(
        render(
            ReportData(
                title=ATTRIBUTE + HOSTILE,
                state="calibrated",
                precision="mixed",
                facts={**facts, "keras_int8nmt_version": HOSTILE},
                tensors=(tensor,),
                unseen=(HOSTILE, ATTRIBUTE),
                matmuls=(row,),
                quality=compared,
                missing=(HOSTILE, ATTRIBUTE),
            )
        )
    )
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert page.words.count(HOSTILE) >= 8


def test_a_large_model_gives_a_page_of_bounded_size():
    rng = np.random.default_rng(0)
    histogram = Histogram().add(rng.normal(size=100_000) * rng.lognormal(size=100_000))
    params = params_from_thresholds(-4.0, 4.0, symmetric=True)
    tensors = tuple(
        describe_tensor(f"big/decoder_block_{i // 14}/x{i % 14}", histogram, (-4.0, 4.0), params)
        for i in range(200)
    )
    page = render(ReportData("big", "calibrated", "int8", {}, tensors))
    assert len(page) < 200 * 8_000 + 20_000


def test_a_converted_model_shows_its_rows_and_what_it_lacks(model):
    int8 = convert(model)
    data = collect(int8)
    assert data.state == "converted"
    assert not data.tensors
    text = Page(render(data)).words
    assert all(row.name in text for row in int8.conversion_report.rows)
    assert "Not in this report" in text
    assert "What is not in this report." in text
    assert "Histograms and the classes of tensors" in text
    with pytest.raises(ValueError, match="converted itself"):
        collect(int8, converted=int8)
    after = compare_translations(None, ["Ja."], ["Yes."], ["Ja."])
    text = Page(render(collect(int8, quality=after))).words
    assert "a converted model has no float weights" in text
    assert "BLEU, INT8" in text


def test_a_converted_model_without_its_report_says_so(model):
    int8 = convert(model)
    int8.conversion_report = None
    text = Page(render(collect(int8))).words
    assert "saved by Keras alone" in text


def test_a_converted_model_of_another_model_is_refused(model):
    rows = convert(model).conversion_report.rows
    other = SimpleNamespace(name="other", conversion_report=ConversionReport(rows[:-1]))
    with pytest.raises(ValueError, match="only one of them has the MatMul 'output_projection'"):
        collect(model, converted=other)
    with pytest.raises(ValueError, match="is not converted"):
        collect(model, converted=model)
    with pytest.raises(ValueError, match="neither calibrated nor converted"):
        collect(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))


def test_nothing_is_overwritten_without_force(model, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("precious")
    with pytest.raises(TextFileError, match="force"):
        write_report(model, path)
    assert path.read_text() == "precious"
    data = write_report(model, path, title="A name", force=True)
    assert data.title == "A name"
    assert path.read_text(encoding="utf-8") == render(data)


def test_the_data_are_json(data):
    figures = json.loads(json.dumps(data.to_dict(), allow_nan=False))
    assert figures["tensors"][0]["path"] == data.tensors[0].path
    assert figures["quality"]["differing"] == 1
    endless = ReportData(
        "m", "converted", "int8", {}, matmuls=(MatMulRow("a", "w", "int8", "", (), math.inf),)
    )
    assert endless.to_dict()["matmuls"][0]["input_sqnr_db"] is None


@pytest.mark.parametrize("most", [2, 7, 160])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 3e20])
@pytest.mark.parametrize("low", [-1.0, -0.01, 0.0, 0.5])
def test_bars_keep_every_value_on_its_side_of_zero(most, scale, low):
    values = np.linspace(low, 1.0, 5001) * scale
    histogram = Histogram().add(values)
    bars = reduce_histogram(histogram, most)
    assert len(bars.counts) <= most
    assert sum(bars.counts) == values.size
    assert bars.left <= values.min()
    assert bars.right >= values.max()
    zero = round(-bars.left / bars.width)
    assert bars.left + zero * bars.width == pytest.approx(0.0, abs=1e-9 * bars.width)
    assert sum(bars.counts[:zero]) == np.sum(values < 0)


def test_bars_count_what_numpy_counts():
    values = np.random.default_rng(3).normal(size=2000).astype(np.float32)
    bars = reduce_histogram(Histogram().add(values), 40)
    edges = bars.left + bars.width * np.arange(len(bars.counts) + 1)
    assert bars.counts == tuple(np.histogram(values, edges)[0])


def test_without_values_there_are_no_bars():
    with pytest.raises(ValueError, match="counts"):
        reduce_histogram(Histogram())
    tensor = describe_tensor("a", Histogram(), (-1.0, 1.0), QuantParams(np.float32(127)))
    assert (tensor.kind, tensor.bars) == (None, None)
    assert "No histogram was kept" in render(ReportData("m", "calibrated", "int8", {}, (tensor,)))


@pytest.mark.parametrize(
    "values", [np.zeros(5), np.array([3.0]), np.array([-2.0, -2.0]), np.array([1e-38, 1.0])]
)
def test_odd_histograms_are_drawn_inside_their_picture(values):
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    params = params_from_thresholds(low, high, symmetric=False)
    tensor = describe_tensor("m/a/b", Histogram().add(values), (low, high), params)
    page = Page(render(ReportData("m", "calibrated", "int8", {}, (tensor,))))
    (picture,) = page.all("svg")
    assert picture["viewbox"] == "0 0 320 132"
    for path in page.all("path"):
        numbers = [float(n) for n in path["d"].replace("v4", "").translate(SEPARATORS).split()]
        assert all(0 <= number <= 320 for number in numbers)


SEPARATORS = str.maketrans("MHV", "   ")


def test_numbers_are_written_for_people():
    assert signed(-0.124) == "\N{MINUS SIGN}0.12"
    assert signed(0.124) == "+0.12"
    assert signed(-0.001) == "0.00"
    assert decibels(math.inf) == "∞"
    assert decibels(None) == "\N{EN DASH}"
    assert percent(0.0) == "0 %"
    assert percent(0.00012345) == "0.0123 %"
    assert percent(1.0) == "100 %"
    assert percent(1e-9) == "under 0.0001 %"
    assert [number_text(n) for n in (0.0, 0.5, -4.34, 1234.5, 98765.4)] == [
        "0", "0.5000", "\N{MINUS SIGN}4.340", "1,234", "98,765",
    ]  # fmt: skip
    assert number_text(-1.5e-7) == "\N{MINUS SIGN}1.500\N{MULTIPLICATION SIGN}10⁻⁷"
    assert number_text(2e12, 2) == "2.0\N{MULTIPLICATION SIGN}10¹²"
    assert [p_text(p) for p in (0.0321, 0.0004, 1.0, None)] == [
        "0.032", "< 0.001", "1.000", "\N{EN DASH}",
    ]  # fmt: skip
    assert [megabytes(n) for n in (2_048, 7_234_567, 1_234_567_890)] == [
        "2.0 kB", "7.2 MB", "1,234.6 MB",
    ]  # fmt: skip
    assert [short_count(n) for n in (1, 999, 10_000, 2_500_000)] == ["1", "999", "10k", "2.5M"]
    assert group_of("m/block/a/b") == ("block", "a/b")
    assert group_of("m/output_observer") == ("model", "m/output_observer")
    assert group_of("alone") == ("model", "alone")
