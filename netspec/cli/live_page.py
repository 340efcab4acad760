"""A page in a browser of this machine that shows the newest state of something, and reloads itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

HOST = "127.0.0.1"
# How long a page waits for news before it asks again, in seconds.
_LONGEST_WAIT = 20
# How often the server looks whether it is to end, in seconds.
_LOOK_UP = 0.05

_FRAME = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>netspec</title><style>
html, body { height: 100%; margin: 0; font: 14px system-ui, sans-serif; color-scheme: light dark; }
body { display: flex; flex-direction: column; }
nav { padding: 6px 10px; } nav a { margin-right: 12px; }
pre { margin: 0; padding: 6px 10px; white-space: pre-wrap; max-height: 40%; overflow: auto; }
pre:empty { display: none; } iframe { flex: 1; border: 0; }
</style></head><body><nav id="nets"></nav><pre id="said" role="status"></pre>
<iframe id="shown" title="picture of the net"></iframe><script>
"use strict";
let seen = 0, chosen = null;
const nets = document.getElementById("nets"), frame = document.getElementById("shown");
function show(state) {
  if (!state.pages.includes(chosen)) chosen = state.pages[0];
  document.getElementById("said").textContent = state.said;
  nets.replaceChildren(...state.pages.map((name) => {
    const link = document.createElement("a");
    link.textContent = name;
    link.href = "#";
    link.onclick = (event) => { event.preventDefault(); chosen = name; show(state); };
    return link;
  }));
  nets.hidden = state.pages.length < 2;
  if (chosen) frame.src = `/page/${encodeURIComponent(chosen)}?${state.number}`;
  else frame.removeAttribute("src");
}
async function follow() {
  for (;;) {
    try {
      const answer = await fetch(`/state?after=${seen}`);
      if (answer.status !== 200) continue;
      const state = await answer.json();
      seen = state.number;
      show(state);
    } catch {
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}
follow();
</script></body></html>
"""


@dataclass
class _State:
    """What the page shows: pages by name, and a text above them. `number` counts the changes."""

    pages: Mapping[str, str] = field(default_factory=dict)
    said: str = ""
    number: int = 0
    news: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, after: int) -> bool:
        """Wait for a later state than this one. Returns whether there is one."""
        with self.news:
            return self.news.wait_for(lambda: self.number > after, _LONGEST_WAIT)


class LivePage:
    """Serves the page at an address of this machine that no other machine can reach.

    A request must name that address in its Host header: otherwise a page of somebody else's, open
    in the same browser, could read it under a name of its own (DNS rebinding).
    """

    def __init__(self, port: int = 0) -> None:
        self._state = _State()
        state = self._state

        class Handler(_Handler):
            shown = state

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LOOK_UP,), daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self._server.server_port}/"

    def show(self, pages: Mapping[str, str], said: str) -> None:
        """Show pages of HTML, by name, with a text above them."""
        state = self._state
        with state.news:
            state.pages, state.said, state.number = dict(pages), said, state.number + 1
            state.news.notify_all()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    shown: _State

    def do_GET(self) -> None:
        assert isinstance(self.server, HTTPServer)
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self._answer(
                HTTPStatus.MISDIRECTED_REQUEST, "text/plain", "not the name of this page\n"
            )
            return
        asked = urlsplit(self.path)
        state = self.shown
        if asked.path == "/":
            self._answer(HTTPStatus.OK, "text/html", _FRAME)
        elif asked.path == "/state":
            after = asked.query.removeprefix("after=")
            if state.wait(int(after) if after.isdecimal() and len(after) < 10 else 0):
                self._answer(HTTPStatus.OK, "application/json", self._told())
            else:
                self._answer(HTTPStatus.NO_CONTENT, "text/plain", "")
        elif asked.path.startswith("/page/"):
            page = state.pages.get(unquote(asked.path.removeprefix("/page/")))
            status = HTTPStatus.OK if page is not None else HTTPStatus.NOT_FOUND
            self._answer(status, "text/html", page or "there is no such net\n")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "there is nothing here\n")

    def _told(self) -> str:
        state = self.shown
        with state.news:
            return json.dumps(
                {"number": state.number, "said": state.said, "pages": list(state.pages)}
            )

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode("utf-8", "backslashreplace")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal shows what is wrong with the net."""
