"""The site of the documents in a real browser, at the width of a desk and of a phone.

`make docs` builds it; KERAS_INT8NMT_PICTURES names a folder where pictures of its pages stay.
"""

from __future__ import annotations

import functools
import http.server
import os
import threading
from pathlib import Path

import pytest
from helpers.browser import BROWSER, NAMES, Browser

SITE = Path(__file__).resolve().parents[1] / "build" / "site"
pytestmark = [
    pytest.mark.skipif(
        BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)} is on the PATH"
    ),
    pytest.mark.skipif(not (SITE / "index.html").is_file(), reason="no site: make docs builds it"),
]
WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}
# Start, a tutorial, a page of the reference, and what is widest: tables and the command line.
PAGES = [
    "index",
    "start",
    "generated/tutorial-corpus",
    "generated/api",
    "generated/command-line",
    "benchmarks",
]
LOADED = "document.readyState === 'complete'"
# What is wider than the page and can't be scrolled by itself.
WIDER = """
Array.from(document.querySelectorAll('body *')).filter((e) => {
  const box = e.getBoundingClientRect();
  if (box.right <= innerWidth + 1 || !box.width || getComputedStyle(e).position === 'fixed')
    return false;
  for (let p = e; p !== document.body; p = p.parentElement) {
    const style = getComputedStyle(p);
    if (['auto', 'scroll', 'hidden'].includes(style.overflowX) || style.visibility === 'hidden' ||
        style.position === 'fixed') return false;
  }
  return true;
}).map((e) => e.tagName + ' ' + e.className + ': ' + e.textContent.trim().slice(0, 40))
"""


class Server(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/favicon.ico":
            # The browser asks for it by itself; the site has none.
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url():
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Server, directory=str(SITE))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module", params=WIDTHS)
def sized(request, tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp(request.param), WIDTHS[request.param])
    yield request.param, browser
    browser.close()


@pytest.fixture
def browser(sized):
    _, browser = sized
    browser.clear()
    browser.until("location.href === 'about:blank'")
    browser.requests.clear()
    return browser


def opened(browser, address):
    browser.open(address)
    browser.until(f"location.href === {address!r} && {LOADED}")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_and_asks_no_other_host(browser, sized, url, page, tmp_path):
    opened(browser, f"{url}{page}.html")
    width, _ = WIDTHS[sized[0]]
    assert browser.value("innerWidth") == width
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value(WIDER) == []
    assert len(browser.requests) > 3
    assert [asked for asked in browser.requests if not asked.startswith((url, "data:"))] == []
    assert browser.complaints == []
    folder = Path(os.environ.get("KERAS_INT8NMT_PICTURES", tmp_path))
    picture = folder / f"{page.rpartition('/')[2]}-{sized[0]}.png"
    browser.picture(picture)
    # An empty page of these sizes takes a tenth of it.
    assert picture.stat().st_size > 20_000


@pytest.mark.parametrize(
    ("word", "page"), [("journal", "corpus.html"), ("BatchTranslator", "generated/api.html")]
)
def test_the_search_finds_a_page(browser, url, word, page):
    opened(browser, f"{url}index.html")
    # By its form, whether or not the bar that has it is open at this width.
    browser.value(
        "(() => { const form = document.querySelector('form[action=\"search.html\"]');"
        f"form.querySelector('input[name=q]').value = {word!r}; form.submit(); }})()"
    )
    browser.until(f"location.pathname === '/search.html' && {LOADED}")
    links = "Array.from(document.querySelectorAll('#search-results li a'), (a) => a.href)"
    browser.until(f"{links}.some((link) => link.startsWith({url + page!r}))")
    assert browser.complaints == []
    assert [asked for asked in browser.requests if not asked.startswith((url, "data:"))] == []


def test_on_a_phone_the_contents_open_by_a_press(browser, sized, url):
    opened(browser, f"{url}start.html")
    inside = "document.querySelector('.sidebar-drawer').getBoundingClientRect().right > 0"
    assert browser.value(inside) == (sized[0] == "desk")
    if sized[0] == "phone":
        browser.value("document.querySelector('label[for=__navigation]').click()")
        browser.until(inside)
    assert "Tutorials" in browser.value("document.querySelector('.sidebar-drawer').textContent")
