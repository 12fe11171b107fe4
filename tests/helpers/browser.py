"""A headless Chromium that a test types into, by its debugging protocol over two pipes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page. Close it.

    Args:
        folder: For its profile.
        size: Of the page, in pixels.

    Attributes:
        requests: Addresses that the page has asked for.
        complaints: What its console said, and errors that no script caught.
    """

    def __init__(self, folder: Path, size: tuple[int, int] = (1000, 800)) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._count, self._rest = 0, b""
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        command = (
            f'exec "$0" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage '
            f'--no-first-run --hide-scrollbars --remote-debugging-pipe --user-data-dir="$1" '
            f"3<&{to_read} 4>&{to_write}"
        )
        self._process = subprocess.Popen(
            ["bash", "-c", command, str(BROWSER), str(folder / "profile")],
            pass_fds=(to_read, to_write),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        found = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        width, height = size
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def clear(self, dark: bool = False) -> None:
        """An empty page, of a user who prefers dark colours or light ones; nothing was said."""
        self.open("about:blank")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.requests.clear()
        self.complaints.clear()

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._count:
                assert "error" not in found, found
                return found["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._from, 1 << 16)
            assert part, "the browser has gone"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        method, told = found.get("method"), found.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(told))
        return found

    def open(self, url: str) -> None:
        self.ask("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """Of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """The value of an expression as soon as it counts as true."""
        for _ in range(600):
            with suppress(AssertionError):
                if value := self.value(expression):
                    return value
            time.sleep(0.05)
        raise AssertionError(f"{expression} did not come; {self.complaints}")

    def type(self, text: str) -> None:
        """Types a text where the focus is."""
        self.ask("Input.insertText", text=text)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Presses a key; `code` is that of Windows, as the protocol asks, `text` what it types."""
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **event)

    def names(self) -> dict[str, list[str]]:
        """What a screen reader calls things, by their roles."""
        found: dict[str, list[str]] = {}
        for node in self.ask("Accessibility.getFullAXTree")["nodes"]:
            if not node.get("ignored"):
                role, name = node["role"].get("value"), node.get("name", {}).get("value", "")
                found.setdefault(role, []).append(name)
        return found

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)


def tabs_until(browser: Browser, holds: Callable[[], bool], most: int = 20) -> int:
    """Presses Tab until something holds; how often that was."""
    for n in range(1, most + 1):
        browser.press("Tab", 9)
        if holds():
            return n
    raise AssertionError("the Tab key does not lead there")
