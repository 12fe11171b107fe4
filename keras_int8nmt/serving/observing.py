"""Counts and logs every request, and gives every answer its headers of safety."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from keras_int8nmt.serving.logs import say
from keras_int8nmt.serving.metrics import Metrics

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
_OTHER = "other"
# Asked for every few seconds by machines.
_QUIET = frozenset(("/health", "/ready", "/metrics"))


class Observed:
    """ASGI middleware.

    Args:
        app: What answers.
        metrics: Where requests are counted.
        paths: Addresses there are; one with parameters counts without them, any other as "other",
            so that nothing that a client sends is a label or in the logs.
    """

    def __init__(self, app: Any, metrics: Metrics, paths: Sequence[str]) -> None:
        self._app, self._metrics = app, metrics
        self._paths = {path for path in paths if "{" not in path}
        self._prefixes = sorted({path.partition("{")[0] for path in paths if "{" in path})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500
        scope.setdefault("state", {})

        async def sending(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - start
            path = self._path(scope["path"])
            self._metrics.request(path, status, seconds)
            if path not in _QUIET:
                figures = scope["state"].get("figures", {})
                say("request", path=path, status=status, ms=round(1000 * seconds, 1), **figures)

    def _path(self, path: str) -> str:
        if path in self._paths:
            return path
        return next((each for each in self._prefixes if path.startswith(each)), _OTHER)
