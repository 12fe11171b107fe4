"""The report in a real browser: its script runs, columns sort, and the picture shows something."""

from __future__ import annotations

import json
import re
import subprocess
from html import unescape

import pytest
from helpers.browser import BROWSER, NAMES, Browser
from helpers.models import make_data, make_transformer

from keras_int8nmt import convert
from keras_int8nmt.report import collect, compare_translations, render

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)} is on the PATH"
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


# A page as wide as a phone, as what once was cut, and as a desk has it.
WIDTHS = (390, 500, 1280)


@pytest.fixture(scope="module")
def opened(page, tmp_path_factory):
    """Opens the page in a browser of a width; the browser is shared, and its page is new."""
    browsers = {}

    def open_page(width, dark=False):
        if width not in browsers:
            folder = tmp_path_factory.mktemp(f"browser{width}")
            browsers[width] = Browser(folder, (width, 800))
        browser = browsers[width]
        browser.clear(dark=dark)
        browser.open(page.as_uri())
        browser.until("document.documentElement.dataset.ready")
        return browser

    yield open_page
    for browser in browsers.values():
        browser.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_page_but_inside_its_own_box(opened, width):
    browser = opened(width)
    browser.value("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert browser.value("document.documentElement.scrollWidth") == width
    # What reaches out of the page lies in a box that scrolls, and the box is inside.
    outside = browser.value(
        "Array.from(document.querySelectorAll('body *'))"
        ".filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll'))"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    assert outside == []
    boxes = browser.value(
        "Array.from(document.querySelectorAll('.scroll'), (box) => [box.clientWidth, "
        "getComputedStyle(box).overflowX])"
    )
    assert len(boxes) == 3
    assert all(0 < box < width and flow == "auto" for box, flow in boxes)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_number_of_an_interval_can_be_read(opened, width):
    browser = opened(width)
    texts = browser.value(
        "Array.from(document.querySelectorAll('svg.interval text'), (text) => {"
        " const box = text.getBoundingClientRect();"
        " const frame = text.closest('svg').getBoundingClientRect();"
        " return [text.textContent, box.height, box.left >= frame.left - 0.5,"
        " box.right <= Math.min(frame.right, innerWidth) + 0.5]; })"
    )
    numbers = [text for text, *_ in texts if re.fullmatch(r"[\N{MINUS SIGN}\d.]+", text)]
    # Of BLEU, of chrF, and of the difference between them.
    assert browser.value("document.querySelectorAll('svg.interval').length") == 3
    assert len(numbers) >= 9
    # As large as small print, and not cut at either side.
    assert all(height >= 9 and left and right for _, height, left, right in texts), texts


def shown(browser, selector):
    """What of these is displayed, by its text."""
    return browser.value(
        f"Array.from(document.querySelectorAll({json.dumps(selector)}))"
        ".filter((e) => e.offsetParent !== null).map((e) => e.textContent)"
    )


def search(browser, text):
    browser.value("document.getElementById('find').focus()")
    browser.value("document.getElementById('find').select()")
    if text:
        browser.type(text)
    else:
        browser.press("Backspace", 8)


def test_the_search_leaves_the_rows_and_pictures_that_hold_all_words(opened, data):
    browser = opened(1280)
    every = shown(browser, "#matmuls ~ .scroll tbody th")
    assert len(every) == len(data.matmuls)
    open_before = browser.value("document.querySelectorAll('details[open]').length")
    search(browser, "DECODER ffn")
    expected = [r.name for r in data.matmuls if "decoder" in r.name and "ffn" in r.name]
    tensors = [t.path for t in data.tensors if "decoder" in t.path and "ffn" in t.path]
    assert 0 < len(expected) < len(every)
    assert shown(browser, "#matmuls ~ .scroll tbody th") == expected
    assert shown(browser, "#tensors ~ .scroll tbody th") == tensors
    # Blocks with a picture that was found are open, the others are gone.
    assert len(shown(browser, "figure")) == len(tensors)
    assert browser.value("document.getElementById('found').value") == (
        f"{len(expected)} of {len(every)} MatMuls, {len(tensors)} of {len(data.tensors)} tensors"
    )
    # By precision, by class and by reason as well.
    search(browser, "float32 two tensors")
    dynamic = [r.name for r in data.matmuls if r.kind == "dynamic"]
    assert shown(browser, "#matmuls ~ .scroll tbody th") == dynamic
    search(browser, "sparse")
    kinds = [t.path for t in data.tensors if t.kind == "sparse"]
    assert shown(browser, "#tensors ~ .scroll tbody th") == kinds
    assert len(shown(browser, "figure")) == len(kinds)
    search(browser, "nothing is called so")
    assert shown(browser, "#matmuls ~ .scroll tbody th") == []
    assert "0 of" in browser.value("document.getElementById('found').value")
    search(browser, "")
    assert shown(browser, "#matmuls ~ .scroll tbody th") == every
    assert browser.value("document.querySelectorAll('details[open]').length") == open_before
    assert browser.value("document.getElementById('found').value") == ""
    assert not browser.complaints


def test_what_was_found_can_be_sorted(opened, data):
    browser = opened(1280)
    search(browser, "decoder")
    browser.value(
        "document.querySelector('#matmuls ~ .scroll thead th:nth-child(6) button').click()"
    )
    expected = sorted(
        r.input_sqnr_db for r in data.matmuls if "decoder" in r.name and r.input_sqnr_db is not None
    )
    cells = browser.value(
        "Array.from(document.querySelectorAll('#matmuls ~ .scroll tbody tr:not([hidden])'),"
        " (row) => row.cells[5].dataset.value).filter((v) => v !== '').map(Number)"
    )
    assert cells == pytest.approx(expected)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_head_of_a_table_stays_while_its_rows_scroll(opened, width):
    browser = opened(width)
    browser.value("var box = document.querySelector('#matmuls ~ .scroll')")
    browser.value("box.scrollIntoView()")
    places = (
        "[box.getBoundingClientRect().top,"
        " box.querySelector('thead th').getBoundingClientRect().top,"
        " box.querySelector('tbody tr').getBoundingClientRect().top,"
        " box.querySelector('tbody th').getBoundingClientRect().left,"
        " box.getBoundingClientRect().left]"
    )
    _, _, row_before, _, _ = browser.value(places)
    browser.value("box.scrollTop = 150; box.scrollLeft = 60")
    assert browser.value("box.scrollTop") == 150
    top, head, row, name, left = browser.value(places)
    assert row == pytest.approx(row_before - 150, abs=1)
    assert head == pytest.approx(top, abs=1)
    # The names of the rows stay at the left, whatever is looked at.
    assert name == pytest.approx(left, abs=1)
    # The rows pass below it: what is seen where the head is, is the head.
    assert browser.value(
        f"document.elementFromPoint({left + 5}, {head + 5}).closest('thead') !== null"
    )
    # The search field stays as well, at the top of the window.
    assert browser.value("document.querySelector('.find').getBoundingClientRect().top") == 0


def test_contents_lead_to_their_sections_below_the_search_field(opened):
    browser = opened(390)
    for name in browser.value(
        "Array.from(document.querySelectorAll('.contents a'), (a) => a.hash.slice(1))"
    ):
        browser.value(f"document.querySelector('.contents a[href=\"#{name}\"]').click()")
        below = browser.value("document.querySelector('.find').getBoundingClientRect().bottom")
        assert browser.until(
            f"document.getElementById('{name}').getBoundingClientRect().top >= {below} - 1"
        )
        assert browser.value(f"document.getElementById('{name}').getBoundingClientRect().top < 800")


def test_a_link_to_a_tensor_that_the_search_left_out_shows_it(opened):
    browser = opened(1280)
    search(browser, "nothing is called so")
    browser.value("location.hash = 't3'")
    assert browser.until("document.getElementById('t3').offsetParent !== null")
    assert browser.value("document.getElementById('find').value") == ""


# The ratio of WCAG 2 between the colour of a text and what is behind it.
CONTRAST = """
(function () {
  function parts(colour) { return colour.match(/[\\d.]+/g).map(Number); }
  function light(colour) {
    const [r, g, b] = parts(colour).map(function (c) {
      const v = c / 255;
      return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4);
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function behind(element) {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (parts(colour).length === 3 || parts(colour)[3] > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  }
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, style")) continue;
    const style = getComputedStyle(element);
    const colour = element.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(colour), light(behind(element))].sort((x, y) => y - x);
    seen += 1;
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(element.outerHTML.slice(0, 120));
  }
  return [seen, poor.slice(0, 5)];
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(opened, dark):
    browser = opened(1280, dark)
    seen, poor = browser.value(CONTRAST)
    assert seen > 300
    assert poor == []
    behind = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", behind)[:3])) < 200) is dark


def test_no_address_but_its_own_is_asked_for(opened, page):
    browser = opened(1280)
    search(browser, "decoder")
    assert set(browser.requests) == {page.as_uri()}
