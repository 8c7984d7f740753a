"""A headless Chromium for tests, driven by the DevTools protocol over its own pipe: no port, no further package.

The browser reads commands from file descriptor 3 and writes to 4: JSON, each message closed by a NUL byte.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)
# Chromium takes the descriptors 3 and 4, whatever numbers the pipes have here.
LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
PATIENCE = 600  # seconds for one answer, on a busy machine


class BrowserError(Exception):
    """The browser answered with an error, went away, or took too long."""


def find_chromium() -> str | None:
    """Path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser process; a context manager that ends it, with all that it started."""

    def __init__(self, program: str, profile: Path) -> None:
        """Start the browser; `profile` is an empty folder of its own."""
        reads, self._write = _pipe()
        self._read, writes = _pipe()
        command = [sys.executable, "-c", LAUNCH, str(reads), str(writes), program, *FLAGS, f"--user-data-dir={profile}"]
        self._errors = (profile.parent / f"{profile.name}.stderr").open("w+b")
        self._process = subprocess.Popen(
            command,
            pass_fds=(reads, writes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
        )
        os.close(reads)
        os.close(writes)
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrowserError):
            self.call("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._errors.close()

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Give one command and wait for its answer; what happens meanwhile is kept in `events`.

        Raises BrowserError.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        try:
            _write_all(self._write, json.dumps(message).encode() + b"\0")
        except BrokenPipeError:
            raise self._gone(method) from None
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._message(until, method)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def _message(self, until: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise BrowserError(f"{method}: no answer within {PATIENCE} seconds")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise self._gone(method)
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _gone(self, method: str) -> BrowserError:
        self._errors.seek(0)
        return BrowserError(f"{method}: the browser is gone: {self._errors.read()[-2000:].decode(errors='replace')}")

    @contextlib.contextmanager
    def tab(self, width: int, height: int = 900, scheme: str = "light") -> Iterator[Tab]:
        """An empty tab of exactly this width in CSS pixels, in a light or dark scheme."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        tab = Tab(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        tab.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        tab.scheme(scheme)
        try:
            yield tab
        finally:
            self.call("Target.closeTarget", targetId=target)


@dataclass
class Tab:
    """One page of the browser; `taken` counts the events that were looked at."""

    browser: Browser
    session: str
    first: int = field(default=0)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command to this tab."""
        return self.browser.call(method, self.session, **parameters)

    def scheme(self, scheme: str) -> None:
        """Have the system ask for light or dark colours."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, address: str) -> None:
        """Go to an address and wait until it is loaded and its pictures are decoded."""
        self.first = len(self.browser.events)
        problem = self.call("Page.navigate", url=address).get("errorText")
        if problem:
            raise BrowserError(f"{address}: {problem}")
        until = time.monotonic() + PATIENCE
        while self.value("document.readyState") != "complete" or self.value("location.href") == "about:blank":
            if time.monotonic() > until:
                raise BrowserError(f"{address}: not loaded within {PATIENCE} seconds")
            time.sleep(0.02)
        self.value("Promise.allSettled([...document.images].map((image) => image.decode())).then(() => true)")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression comes to, as JSON has it; a promise is waited for. Raises BrowserError."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release one key, such as ("Enter", 13, "\\r"), in what has the focus."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def happened(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events of one kind in this tab since it was opened."""
        mine = (event for event in self.browser.events[self.first :] if event.get("sessionId") == self.session)
        return [event["params"] for event in mine if event["method"] == method]

    def problems(self) -> list[str]:
        """Errors and warnings on the console, exceptions nobody caught, and what the browser itself complains of."""
        self.value("new Promise((done) => setTimeout(done, 50))")
        said = [
            " ".join(str(part.get("value", part.get("description"))) for part in event["args"])
            for event in self.happened("Runtime.consoleAPICalled")
            if event["type"] in ("error", "warning", "assert")
        ]
        thrown = [event["exceptionDetails"] for event in self.happened("Runtime.exceptionThrown")]
        said += [details.get("exception", {}).get("description", details["text"]) for details in thrown]
        logged = (event["entry"] for event in self.happened("Log.entryAdded"))
        return said + [entry["text"] for entry in logged if entry["level"] in ("error", "warning")]

    def requests(self) -> list[str]:
        """The address of everything that the page asked for, itself included."""
        return [event["request"]["url"] for event in self.happened("Network.requestWillBeSent")]

    def screenshot(self, file: Path, whole: bool = True) -> None:
        """Write a PNG of the whole page, or of the window. A page above 16,000 pixels is cut there."""
        clip: dict[str, Any] = {}
        if whole:
            width, height = self.value("[innerWidth, Math.min(16000, document.documentElement.scrollHeight)]")
            clip = {
                "captureBeyondViewport": True,
                "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
            }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png", **clip)["data"]))


def _pipe() -> tuple[int, int]:
    """A pipe's reading and writing end, both above the numbers that the browser wants for itself."""
    ends = os.pipe()
    above = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return above[0], above[1]


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
