"""The service's page in a real browser: typed into, read by role and name, looked at."""

from __future__ import annotations

import pytest
from helpers.browser import BROWSER, NAMES, Browser, tabs_until
from helpers.service import serving

from keras_int8nmt import load_translator

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)} is on the PATH"
)
SEARCH = {"beam_size": 2, "max_length": 8}
FOCUS = "document.activeElement.id"
# Of the two outputs, the model of integers first.
TEXTS = "Array.from(document.querySelectorAll('.output .text'), (e) => e.textContent)"
HOSTILE = "<img src=x onerror=\"document.title='hacked'\"> It rains."


@pytest.fixture(scope="module")
def url(folders):
    models = [f"en-de={folders / 'int8'}", f"en-de={folders / 'float'}"]
    with serving(*models, "--beam-size", "2", "--max-length", "8") as service:
        yield service.url


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def browser(one_browser):
    one_browser.clear()
    return one_browser


@pytest.fixture(scope="module")
def expected(folders):
    """Of a sentence, what both models make of it."""
    loaded = [load_translator(folders / name, **SEARCH) for name in ("int8", "float")]
    yield lambda sentence: [translator([sentence])[0] for translator in loaded]
    for translator in loaded:
        translator.close()


def translated(browser, text):
    browser.until(f"document.documentElement.dataset.translated === '{len(text)}'")
    return browser.value(TEXTS)


def test_what_is_typed_is_translated_by_both_models(browser, url, expected):
    browser.open(url)
    browser.until("document.documentElement.dataset.ready")
    # The text has the focus: nothing needs to be pressed first.
    assert browser.value(FOCUS) == "source-text"
    browser.type("It rains.")
    assert translated(browser, "It rains.") == expected("It rains.")
    browser.type(" My dog")
    assert translated(browser, "It rains. My dog")[0].startswith(expected("It rains.")[0])
    latencies = browser.value(
        "Array.from(document.querySelectorAll('.latency'), (e) => e.textContent)"
    )
    assert all(latency.endswith(" ms") for latency in latencies)
    assert browser.value("document.querySelectorAll('.others li').length") >= 1
    # It asked this server alone, and its console is empty.
    assert all(asked.startswith((url, "data:")) for asked in browser.requests)
    assert not browser.complaints


def test_an_address_fills_the_page_and_its_text_is_no_markup(browser, url):
    browser.open(f"{url}/#auto/de/{HOSTILE.replace(' ', '%20').replace('<', '%3C')}")
    translated(browser, HOSTILE)
    assert browser.value("document.getElementById('source-text').value") == HOSTILE
    assert "English" in browser.value("document.getElementById('detected').textContent")
    assert browser.value("document.title") == "Translate"
    assert browser.value("document.querySelectorAll('img').length") == 0
    # What stands behind # is not sent as an address.
    assert not [asked for asked in browser.requests if "onerror" in asked.partition("#")[0]]


def test_a_script_that_was_put_in_would_not_run(browser, url):
    browser.open(url)
    browser.until("document.documentElement.dataset.ready")
    browser.value(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked=1\">')"
    )
    assert browser.until("document.querySelector('img').complete")
    assert browser.value("window.hacked") is None
    assert any("Content Security Policy" in each for each in browser.complaints)


def test_everything_can_be_reached_by_keys_and_has_a_name(browser, url, expected):
    browser.open(url)
    browser.until("document.documentElement.dataset.ready")
    names = browser.names()
    assert names["textbox"] == ["Text"]
    assert names["combobox"] == ["From", "To"]
    assert "Swap languages" in names["button"]
    assert names["heading"] == ["Translate", "Translation, mixed", "Translation, float32"]
    assert names["status"] == [""] or "Ready" in names["status"]
    reached = set()

    def around():
        reached.add(browser.value(FOCUS))
        return {"source", "swap", "target", "source-text"} <= reached

    tabs_until(browser, around)
    tabs_until(browser, lambda: browser.value(FOCUS) == "swap")
    browser.press("Enter", 13, "\r")
    # There is no model back; the reason is told where a screen reader hears it.
    assert browser.until("document.getElementById('status').textContent.startsWith('No model')")
    assert browser.value("document.querySelector('.output .text').getAttribute('aria-live')")
    assert browser.value("document.querySelector('.output .text').lang") == "de"


def test_a_refusal_is_shown(browser, url):
    browser.open(url)
    browser.until("document.documentElement.dataset.ready")
    browser.type("the " * 60)
    assert "tokens" in browser.until(
        "document.querySelector('#status.wrong') && document.getElementById('status').textContent"
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_picture_shows_the_page(browser, url, tmp_path, dark):
    image = pytest.importorskip("matplotlib.image")
    browser.clear(dark=dark)
    browser.open(f"{url}/#en/de/It%20rains.%20Where%20is%20the%20station%3F")
    translated(browser, "It rains. Where is the station?")
    # pytest keeps the folders of the last three runs.
    picture = tmp_path / f"page-{'dark' if dark else 'light'}.png"
    browser.picture(picture)
    pixels = image.imread(picture)[..., :3]
    assert pixels.shape[:2] == (800, 1000)
    background = pixels[-1, 0].mean()
    assert background < 0.2 if dark else background > 0.9
    drawn = abs(pixels - pixels[-1, 0]).max(axis=2) > 0.35
    # Text stands at the top, on the left (the source) and on the right (both translations).
    for part in (drawn[:100], drawn[150:400, :480], drawn[150:400, 520:]):
        assert part.mean() > 0.004
    assert drawn.mean() < 0.3
