"""The example of docs/qat.md runs, and does what the text says."""

from pathlib import Path

import numpy as np


def test_the_example_trains_and_converts():
    text = (Path(__file__).parents[2] / "docs" / "qat.md").read_text(encoding="utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    names = {}
    exec(compile(code, "docs/qat.md", "exec"), names)
    x, model, int8 = names["x"], names["model"], names["int8"]
    assert int8.conversion_report.precision == "int8"
    exact = model.predict(x, verbose=0)
    given = int8.predict(x, verbose=0)
    assert 0 < np.abs(given - exact).max() < 0.1 * np.abs(exact).max()
    # What training minimizes: thresholds that train may clip single values, which costs nothing.
    losses = [np.square(y - names["y"]).mean() for y in (given, exact)]
    assert losses[0] < 1.01 * losses[1]
