"""Figures of the report: what they draw, and what is said without Matplotlib."""

from __future__ import annotations

import sys

import pytest
from helpers.models import make_data, make_transformer

from keras_int8nmt import convert
from keras_int8nmt.report import collect, plot_histograms, plot_matmuls


@pytest.fixture(scope="module")
def data():
    model = make_transformer()
    return collect(model, converted=convert(model, policy="paper", sample=make_data()))


def test_every_tensor_has_its_axes_with_both_thresholds(data, tmp_path):
    pytest.importorskip("matplotlib")
    figures = plot_histograms(data)
    assert [f.get_label() for f in figures] == ["encoder_block_0", "decoder_block_0", "model"]
    axes = [a for f in figures for a in f.axes]
    assert len(axes) == len(data.tensors)
    drawn = {tuple(line.get_xdata()[0] for line in a.lines) for a in axes}
    assert drawn == {(t.low, t.high) for t in data.tensors}
    tallest = {max(bar.get_height() for bar in a.patches) for a in axes}
    assert tallest == {max(t.bars.counts) for t in data.tensors}
    for figure in figures:
        figure.savefig(tmp_path / f"{figure.get_label()}.png")


def test_every_matmul_has_its_bar_and_floats_their_reason(data, tmp_path):
    pytest.importorskip("matplotlib")
    figure = plot_matmuls(data)
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == [row.name for row in data.matmuls]
    assert [bar.get_width() for bar in axes.patches] == [
        row.input_sqnr_db or 0.0 for row in data.matmuls
    ]
    reasons = [t.get_text() for t in axes.texts]
    assert len(reasons) == sum(row.precision == "float32" for row in data.matmuls)
    assert any("sparse input" in text for text in reasons)
    figure.savefig(tmp_path / "matmuls.png")


def test_a_model_will_do_and_one_without_histograms_is_refused():
    pytest.importorskip("matplotlib")
    model = make_transformer()
    assert len(plot_histograms(model)) == 3
    int8 = convert(model)
    assert plot_matmuls(int8).axes
    with pytest.raises(ValueError, match="no histograms"):
        plot_histograms(int8)


@pytest.mark.parametrize("plot", [plot_histograms, plot_matmuls])
def test_without_matplotlib_the_extra_is_named(data, monkeypatch, plot):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(ImportError, match=r"pip install keras-int8nmt\[plot\]"):
        plot(data)
