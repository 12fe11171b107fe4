"""The files of the page at `/`; they ask no other host for anything."""

from __future__ import annotations

import functools
from importlib.resources import files

from keras_int8nmt.serving.errors import RefusalError

_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@functools.cache
def page_file(name: str) -> tuple[bytes, dict[str, str]]:
    """The content and the headers of a file of the page.

    Raises:
        RefusalError: where there is none of the name.
    """
    if name not in _TYPES:
        raise RefusalError(404, "The page has no such file.")
    content = (files("keras_int8nmt") / "serving" / "page" / name).read_bytes()
    return content, {"Content-Type": _TYPES[name], "Content-Security-Policy": _POLICY}
