"""The report in a real browser: its script runs, columns sort, and the picture shows something."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape

import pytest
from helpers.models import make_data, make_transformer

from keras_int8nmt import convert
from keras_int8nmt.report import collect, compare_translations, render

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, _NAMES)), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser: none of {', '.join(_NAMES)} is on the PATH"
)

HOSTILE = '<script>document.documentElement.dataset.hacked = "yes"</script>'
IMAGE = '<img src="x" onerror="document.documentElement.dataset.hacked = 1">'

# Presses the heads of the first table like a user and writes down the order of the rows.
PRESSES = """
window.addEventListener("load", function () {
  const table = document.querySelector("#matmuls ~ .scroll table");
  const heads = Array.from(table.tHead.rows[0].cells);
  const log = { heads: heads.map((head) => head.textContent), orders: [] };
  heads.forEach(function (head) {
    for (const press of [1, 2]) {
      const button = head.querySelector("button");
      button.focus();
      if (document.activeElement !== button) throw new Error("a head takes no focus");
      button.click();
      log.orders.push({
        sorted: heads.map((h) => h.getAttribute("aria-sort")),
        names: Array.from(table.tBodies[0].rows, (row) => row.cells[0].textContent),
      });
    }
  });
  document.querySelector("button[data-open=all]").click();
  log.open = document.querySelectorAll("details[open]").length;
  document.querySelector("button[data-open=none]").click();
  log.closed = document.querySelectorAll("details:not([open])").length;
  location.hash = "t20";
  setTimeout(function () {
    log.revealed = document.getElementById("t20").closest("details").open;
    document.documentElement.dataset.log = JSON.stringify(log);
  }, 50);
});
window.addEventListener("error", function (event) {
  document.documentElement.dataset.error = event.message;
});
"""


def browse(path, folder, *options):
    """Opens a page; the document afterwards and what the browser's console said."""
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
        "--enable-logging=stderr",
        "--virtual-time-budget=5000",
        *options,
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, console


@pytest.fixture(scope="module")
def data():
    model = make_transformer()
    before = [f"Das ist {HOSTILE}.", "Ein Satz.", "Gleich."]
    after = [f"Dies ist {IMAGE}.", "Ein Wort.", "Gleich."]
    quality = compare_translations(before, after, [HOSTILE, IMAGE, "Same."], before)
    int8 = convert(model, policy="paper", sample=make_data())
    return collect(model, converted=int8, quality=quality, title=f"A model {HOSTILE}{IMAGE}")


@pytest.fixture(scope="module")
def page(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(data), encoding="utf-8")
    return path


def test_the_script_runs_without_an_error_and_no_other_does(page, tmp_path):
    document, console = browse(page, tmp_path, "--dump-dom")
    assert 'data-ready="yes"' in document
    assert "data-hacked" not in document
    assert not console


def test_a_script_that_was_not_escaped_would_not_run(page, tmp_path):
    open_page = tmp_path / "open.html"
    text = page.read_text(encoding="utf-8").replace("<header>", f"<header>{HOSTILE}{IMAGE}")
    open_page.write_text(text, encoding="utf-8")
    document, console = browse(open_page, tmp_path, "--dump-dom")
    assert 'data-ready="yes"' in document
    assert "data-hacked" not in document
    assert len(console) >= 2
    assert all("Content Security Policy" in line for line in console)


def test_heads_sort_by_press_and_keyboard(page, data, tmp_path):
    tested = tmp_path / "pressed.html"
    text = page.read_text(encoding="utf-8")
    # The page's own policy lets no script run but its own.
    text, removed = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert removed == 1
    tested.write_text(text.replace("</body>", f"<script>{PRESSES}</script></body>"), "utf-8")
    document, console = browse(tested, tmp_path, "--dump-dom")
    assert not console
    assert "data-error" not in document
    log = _log(document)
    assert log["heads"][0] == "MatMul"
    rows = data.matmuls
    keys = {
        "Thresholds": lambda r: max(map(abs, r.thresholds), default=None),
        "Input SQNR, dB": lambda r: r.input_sqnr_db,
        "Clipped": lambda r: r.clipped_mass,
        "Output SQNR, dB": lambda r: r.output_sqnr_db,
    }
    by_name = {row.name: row for row in rows}
    for column, head in enumerate(log["heads"]):
        for press in (0, 1):
            order = log["orders"][2 * column + press]
            wanted = [None] * len(log["heads"])
            wanted[column] = ("ascending", "descending")[press]
            assert order["sorted"] == wanted
            assert set(order["names"]) == set(by_name)
            if head in keys:
                values = [keys[head](by_name[name]) for name in order["names"]]
                numbers = [v for v in values if v is not None]
                assert numbers == sorted(numbers, reverse=press == 1)
                # What has no value is last both ways.
                assert values[: len(numbers)] == numbers
                assert len(numbers) > 10
    # Names are sorted as people do, with whole numbers in them.
    assert log["orders"][0]["names"] == log["orders"][1]["names"][::-1]
    assert log["open"] == log["closed"] == 3
    assert log["revealed"]


def _log(document):
    return json.loads(unescape(re.search(r'data-log="([^"]*)"', document)[1]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_shows_a_page(page, tmp_path, scheme):
    image = pytest.importorskip("matplotlib.image")
    picture = tmp_path / f"{scheme}.png"
    browse(
        page,
        tmp_path,
        f"--screenshot={picture}",
        "--window-size=1200,3000",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
    )
    pixels = image.imread(picture)[..., :3]
    assert pixels.shape[:2] == (3000, 1200)
    background = pixels[0, 0].mean()
    assert background > 0.9 if scheme == "light" else background < 0.2
    # Text and bars down the whole page: each tenth of it differs from the background somewhere.
    drawn = abs(pixels - pixels[0, 0]).max(axis=2) > 0.2
    assert all(part.mean() > 0.003 for part in drawn.reshape(10, 300, 1200))
