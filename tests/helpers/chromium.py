"""Chromium without a window, driven over the DevTools protocol's pipe."""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ANSWER_S = 120.0
# The program; None where there is none.
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Tab:
    """A page of a browser.

    Attributes:
        requests: the addresses that it asked for.
        told: what it wrote to the console, and the errors that nothing caught.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], to_browser: int, from_browser: int
    ) -> None:
        self._process = process
        self._out = to_browser
        self._number = 0
        self._session: str | None = None
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self.requests: list[str] = []
        self.told: list[str] = []
        threading.Thread(target=self._read, args=(from_browser,), daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        # Workers ask for files, too.
        self.call(
            "Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True
        )

    def _read(self, pipe: int) -> None:
        rest = b""
        while part := os.read(pipe, 1 << 20):
            *whole, rest = (rest + part).split(b"\0")
            for message in whole:
                self._messages.put(json.loads(message))

    def _send(self, method: str, params: dict[str, Any], session: str | None) -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        return self._number

    def call(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol and return its result."""
        number = self._send(method, params, self._session)
        end = time.monotonic() + _ANSWER_S
        while True:
            message = self._messages.get(timeout=max(0.1, end - time.monotonic()))
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning"):
                self.told.append(str([each.get("value") for each in params["args"]]))
            case "Runtime.exceptionThrown":
                self.told.append(json.dumps(params["exceptionDetails"])[:2000])
            case "Log.entryAdded":
                self.told.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))
            case "Target.attachedToTarget" if params["targetInfo"]["type"] == "worker":
                for domain in ("Network", "Runtime", "Log"):
                    self._send(f"{domain}.enable", {}, params["sessionId"])

    def open(self, address: str) -> None:
        """Go to an address, and wait until its page is there."""
        self.call("Page.navigate", url=address)
        self.until(f"location.href.startsWith({json.dumps(address.partition('#')[0])})"
                   " && document.readyState === 'complete'")  # fmt: skip

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, that of a promise when it is kept."""
        done = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, expression: str, seconds: float = 60.0) -> Any:
        """Wait until an expression holds, and return its value."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"{expression} did not hold\n" + "\n".join(self.told)
            time.sleep(0.02)
        return value

    def type(self, text: str) -> None:
        """Type a text where the cursor is."""
        for char in text:
            if char.isascii():
                self.call("Input.dispatchKeyEvent", type="keyDown", text=char, key=char)
                self.call("Input.dispatchKeyEvent", type="keyUp", key=char)
            else:
                self.call("Input.insertText", text=char)

    def screenshot(self, path: Path) -> None:
        """Write a picture of what is seen."""
        shot = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium(
    browser: str, profile: Path, size: tuple[int, int] = (1400, 900), host: str = ""
) -> Iterator[Tab]:
    """Context manager: start a browser, and give its one page.

    Args:
        browser: the program.
        profile: a folder for what it writes.
        size: width and height of its window, in pixels.
        host: the one host that it may reach; no other name is resolved.
    """
    read_commands, to_browser = os.pipe()
    from_browser, write_answers = os.pipe()
    # The browser reads from file 3 and writes to file 4.
    script = f'exec 3<&{read_commands} 4>&{write_answers}; exec "$@"'
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
        f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {host or 'none.invalid'}",
        f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ]  # fmt: skip
    process = subprocess.Popen(
        ["/bin/bash", "-c", script, "bash", *command], pass_fds=(read_commands, write_answers),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)}, start_new_session=True,
    )  # fmt: skip
    os.close(read_commands)
    os.close(write_answers)
    try:
        yield Tab(process, to_browser, from_browser)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(to_browser)
