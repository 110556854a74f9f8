"""A headless Chromium, driven over a pipe by the DevTools protocol: JSON messages that end in a zero byte.

No port is opened and no library is needed. https://chromedevtools.github.io/devtools-protocol/
"""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


def executable() -> str:
    """The browser: $CHROME, or the first one that is installed."""
    for name in (os.environ.get("CHROME"), *NAMES, MAC):
        found = name and shutil.which(name)
        if found:
            return found
    raise FileNotFoundError("no Chromium; run orchestration/setup.sh browser")


class Chrome:
    """One browser; `Tab`s are opened in it."""

    def __init__(self) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        self._profile = tempfile.TemporaryDirectory(prefix="scorehouse-chrome-")
        flags = [
            "--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--force-color-profile=srgb", f"--user-data-dir={self._profile.name}", "about:blank",
        ]  # fmt: skip
        if os.geteuid() == 0:
            flags.insert(0, "--no-sandbox")  # Chromium refuses root otherwise; the pages are our own
        # The protocol's pipe is file descriptors 3 and 4.
        command = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, "chrome", executable(), *flags],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._last = 0
        self._answers: dict[int, dict] = {}
        self.events: list[dict] = []

    def send(self, method: str, session: str | None = None, timeout: float = 30, **parameters) -> dict:
        """Calls a method and waits for its answer; events that come before it are kept."""
        self._last += 1
        number = self._last
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while number not in self._answers:
            self.pump(end - time.monotonic())
            assert time.monotonic() < end, f"{method} was not answered within {timeout} s"
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def pump(self, timeout: float) -> None:
        """Takes in what the browser says within a time."""
        if not select.select([self._read], [], [], max(timeout, 0))[0]:
            return
        read = os.read(self._read, 1 << 20)
        assert read, "the browser has gone"
        *messages, self._buffer = (self._buffer + read).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.events.append(message)

    def close(self) -> None:
        try:
            self.send("Browser.close", timeout=5)
        except (AssertionError, OSError):
            self._process.kill()
        self._process.wait(10)
        os.close(self._read)
        os.close(self._write)
        self._profile.cleanup()


class Tab:
    """A page in a browser, as wide and as dark as one likes."""

    def __init__(self, chrome: Chrome, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self._chrome = chrome
        self._target = chrome.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = chrome.send("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        scale, phone = (2, True) if width < 600 else (1, False)
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        # A page that scrolls by itself moves away from under the mouse.
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.send("Emulation.setEmulatedMedia", features=[scheme, still])

    def send(self, method: str, **parameters) -> dict:
        return self._chrome.send(method, self._session, **parameters)

    def open(self, path: Path) -> None:
        self.send("Page.navigate", url=path.as_uri())
        end = time.monotonic() + 30
        while not self.said("Page.loadEventFired"):
            self._chrome.pump(1)
            assert time.monotonic() < end, f"{path} does not load"

    def said(self, *methods: str) -> list[dict]:
        """What the browser said of this page, by the names of its events."""
        mine = (event for event in self._chrome.events if event.get("sessionId") == self._session)
        return [event["params"] for event in mine if event["method"] in methods]

    def run(self, script: str):
        """Evaluates an expression, or the result of a promise, and gives its value."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def settle(self) -> None:
        """Waits until the page has done what was asked: two frames, and the pause after typing."""
        self.run("new Promise(done => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 200))")

    def click(self, selector: str) -> None:
        """Presses the mouse where an element is seen."""
        chosen = json.dumps(selector)
        self.run(f"document.querySelector({chosen}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.run(f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector({chosen}).getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
        self.settle()

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text if kind == "keyDown" else "")
        self.settle()

    def write(self, selector: str, text: str) -> None:
        self.run(f"(e => {{ e.focus(); e.select() }})(document.querySelector({json.dumps(selector)}))")
        self.press("Delete", 46)
        self.send("Input.insertText", text=text)
        self.settle()

    def close(self) -> None:
        self._chrome.send("Target.closeTarget", targetId=self._target)
