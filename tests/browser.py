"""Chromium without a window, driven over two pipes by the DevTools protocol: what a page looks like, loads and says.

    with Browser(profile_folder) as browser:
        page = browser.open(path, width=390)
        assert page.evaluate("document.title") and not page.complaints and not page.requests
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

from tests.harness import need

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
         "--remote-debugging-pipe")


def need_chromium() -> str:
    """The browser's path; skips the test, naming the remedy, where there is none."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    need("chromium", found is not None, "apt install chromium")
    return found


class Page:
    """One open page: what it asked for beside itself, and what it complained about."""

    def __init__(self, browser: Browser, session: str):
        self.browser, self.session = browser, session
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def call(self, method: str, **parameters) -> dict:
        return self.browser.call(method, session=self.session, **parameters)

    def heard(self, event: dict) -> None:
        method, p = event["method"], event["params"]
        if method == "Network.requestWillBeSent" and not p["request"]["url"].startswith("data:"):
            self.requests.append(p["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(p["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(p["args"]))
        elif method == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
            self.complaints.append(json.dumps(p["entry"]))

    def evaluate(self, expression: str):
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def resize(self, width: int, height: int = 900) -> None:
        """Another size of the window, down to any width."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, name: str) -> None:
        """The reader's preference: light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def screenshot(self, path: str | os.PathLike, whole: bool = True) -> None:
        """A picture of the page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(found["data"]))

    def print(self, path: str | os.PathLike) -> None:
        """The page on A4."""
        found = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True, printBackground=False)
        Path(path).write_bytes(base64.b64decode(found["data"]))


class Browser:
    """One process of the browser with a profile folder of its own."""

    def __init__(self, profile: str | os.PathLike, program: str | None = None):
        program = program or need_chromium()
        their_in, self._out = os.pipe()
        self._in, their_out = os.pipe()
        # The browser reads commands from descriptor 3 and answers on 4.
        command = f'exec 8<&{their_in} 9>&{their_out} 3<&8 4>&9; exec "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", command, "sh", program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(their_in, their_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(their_in)
        os.close(their_out)
        self._buffer, self._number, self._pages = b"", 0, {}

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_) -> None:
        try:
            self.call("Browser.close")
            self.process.wait(10)
        except (OSError, AssertionError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self._out)
        os.close(self._in)

    def call(self, method: str, session: str | None = None, **parameters) -> dict:
        """One command and its answer; events on the way go to their pages."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data):]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self, seconds: float = 60) -> dict:
        end = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            assert select.select([self._in], [], [], max(end - time.monotonic(), 0))[0], "the browser does not answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has gone"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        found = json.loads(text)
        if "method" in found and (page := self._pages.get(found.get("sessionId"))):
            page.heard(found)
        return found

    def open(self, path: str | os.PathLike, width: int = 1280, height: int = 900, scheme: str = "light",
             fragment: str = "") -> Page:
        """A page, loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.resize(width, height)
        page.scheme(scheme)
        url = Path(path).resolve().as_uri() + fragment
        page.call("Page.navigate", url=url)
        for _ in range(500):
            if page.evaluate("document.readyState") == "complete" and page.evaluate("location.href") == url:
                break
            time.sleep(0.02)
        page.evaluate("document.body.offsetWidth")
        page.requests = [r for r in page.requests if r.partition("#")[0] != url.partition("#")[0]]
        return page
