"""Headless Chromium by its DevTools protocol over a pipe: a page is opened, looked at, and what it says is kept."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium")
# No call of these tests takes a second; a busy machine may take long to start a browser.
PATIENCE = 120.0


class Chromium:
    """One browser for many pages. Messages end in NUL (``--remote-debugging-pipe``)."""

    def __init__(self, profile: Path) -> None:
        assert PROGRAM is not None
        (reads, self._to), (self._from, writes) = os.pipe(), os.pipe()
        # The browser reads descriptor 3 and writes descriptor 4.
        # What it would fetch by itself is kept from it: no address is to be found.
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        flags += ["--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{reads} 4>&{writes}', PROGRAM, *flags],
            pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)
        self._left, self._number = b"", 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Return what the browser answers; what it tells meanwhile is kept in ``events``."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, f"{method}: {told['error']}"
                result: dict[str, Any] = told["result"]
                return result
            self.events.append(told)

    def wait(self, method: str, session: str) -> None:
        """Wait until it has told ``method`` of a page."""
        while not any(one.get("method") == method and one.get("sessionId") == session for one in self.events):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            content = os.read(self._from, 1 << 20) if ready else b""
            assert content, "the browser says nothing more"
            self._left += content
        message, _, self._left = self._left.partition(b"\0")
        value: dict[str, Any] = json.loads(message)
        return value

    def close(self) -> None:
        """End it."""
        os.close(self._to)
        os.close(self._from)
        self._process.terminate()
        self._process.wait(PATIENCE)


@dataclass
class Shown:
    """A page in the browser."""

    browser: Chromium
    session: str
    target: str

    def look(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of this page."""
        return self.browser.call(method, self.session, **parameters)

    def core_seconds(self) -> float:
        """Return how long a core worked on the page until now, since it was opened."""
        told = {one["name"]: one["value"] for one in self.call("Performance.getMetrics")["metrics"]}
        return float(told["TaskDuration"])

    def size(self, width: int, height: int, dark: bool = False) -> None:
        """Show it in a window of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self) -> bytes:
        """Return what the window shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def paper(self) -> bytes:
        """Return it printed, as PDF."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    def said(self) -> list[str]:
        """Return errors and warnings of the console, and exceptions."""
        told = []
        for one in self._events():
            method, parameters = one["method"], one["params"]
            if method == "Runtime.exceptionThrown":
                told.append(str(parameters["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled":
                told.append(str(parameters["args"]))
            elif method == "Log.entryAdded":
                told.append(str(parameters["entry"]["text"]))
            elif method == "Page.javascriptDialogOpening":
                told.append(f"dialog: {parameters['message']}")
        return told

    def asked(self) -> list[str]:
        """Return every address that was asked for, the page's own and pictures within it apart."""
        found = [
            one["params"]["request"]["url"] for one in self._events() if one["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in found[1:] if not url.startswith("data:")]

    def _events(self) -> Iterator[dict[str, Any]]:
        return (one for one in self.browser.events if one.get("sessionId") == self.session)


@contextmanager
def shown(browser: Chromium, page: Path, width: int = 1200, height: int = 800) -> Iterator[Shown]:
    """Open a page, and close it."""
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    one = Shown(browser, session, target)
    for domain in ("Page", "Runtime", "Log", "Network"):
        one.call(f"{domain}.enable")
    one.size(width, height)
    one.call("Performance.enable", timeDomain="threadTicks")
    one.call("Page.navigate", url=page.as_uri())
    browser.wait("Page.loadEventFired", session)
    try:
        yield one
    finally:
        browser.call("Target.closeTarget", targetId=target)
