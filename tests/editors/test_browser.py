"""An editor in a browser, Monaco in Chromium, with `netspec lsp` behind it: what a user sees."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import pytest

from tests.conftest import ROOT
from tests.helpers.chromium import BROWSER

FOLDER = ROOT / "tests/editors/browser"
KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".ttf": "font/ttf"}
TEXT = "net A {\n    input x: [3, 8, 8]\n    output x -> cnv(4, 3) -> relu\n}\n"


class Bridge:
    """`netspec lsp` with the messages of its streams in queues."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.to_server = process.stdin
        self.messages: queue.Queue[bytes] = queue.Queue()
        self.done: queue.Queue[dict[str, Any]] = queue.Queue()
        self.sending = threading.Lock()
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, stream: IO[bytes]) -> None:
        while line := stream.readline():
            size = 0
            while line.strip():
                name, _, value = line.partition(b":")
                size = int(value) if name.lower() == b"content-length" else size
                line = stream.readline()
            self.messages.put(stream.read(size))

    def send(self, message: bytes) -> None:
        with self.sending:
            self.to_server.write(b"Content-Length: %d\r\n\r\n%s" % (len(message), message))
            self.to_server.flush()


class Handler(BaseHTTPRequestHandler):
    """Serves the page and Monaco, and passes messages on."""

    protocol_version = "HTTP/1.1"

    def __init__(self, bridge: Bridge, monaco: Path, *args: Any) -> None:
        self.bridge, self.monaco = bridge, monaco
        super().__init__(*args)

    def do_GET(self) -> None:
        if self.path == "/receive":
            return self.answer(self.bridge.messages.get(), "application/json")
        if self.path == "/text":
            return self.answer(TEXT.encode(), "text/plain")
        page = FOLDER / "page.html"
        path = page if self.path == "/" else self.monaco / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            return self.answer(b"", "text/plain", 404)
        return self.answer(path.read_bytes(), KINDS.get(path.suffix, "application/octet-stream"))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/done":
            self.bridge.done.put(json.loads(body))
        else:
            self.bridge.send(body)
        self.answer(b"{}", "application/json")

    def answer(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.heavy
@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_a_squiggle_a_fix_and_a_hint_in_monaco(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(FOLDER / name, tmp_path)
    install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    if subprocess.run(install, cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("npm cannot install monaco-editor")
    monaco = tmp_path / "node_modules/monaco-editor/min"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT}
    with running([sys.executable, "-m", "netspec", "lsp"], **pipes) as server:
        bridge = Bridge(server)
        pages = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, bridge, monaco))
        pages.daemon_threads = True
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        browser = [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}", f"http://127.0.0.1:{pages.server_port}/",
        ]  # fmt: skip
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with running(browser, **quiet):
            told = bridge.done.get(timeout=90)
        pages.shutdown()
        pages.server_close()
    assert told["squiggle"] == "cnv"
    assert told["fix"] == "Did you mean `conv`?"
    assert told["text"] == TEXT.replace("cnv", "conv")
    assert "conv(4, 3)[N, 4, 6, 6] -> relu[N, 4, 6, 6]" in told["hint"].replace("\u200a", "")
