"""Serves a run over HTTP: a picture sent to /predict is answered with its classes.

python server.py RUN [PORT]
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import netspec

MOST_BYTES = 20_000_000


def server(path: str, port: int = 8000) -> ThreadingHTTPServer:
    """Load the run once, for all threads, and return a server that is ready to start."""
    run = netspec.load_run(path)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10  # seconds that a client may be silent

        def do_GET(self) -> None:
            if self.path == "/health":
                self.answer(200, {"net": run.net.name, "classes": run.class_names})
            else:
                self.answer(404, {"error": "GET /health, POST /predict"})

        def do_POST(self) -> None:
            self.close_connection = True  # unless all that was sent is read
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdigit()):
                return self.answer(411, {"error": "Content-Length is missing"})
            if self.path != "/predict" or int(length) > MOST_BYTES:
                code = 413 if self.path == "/predict" else 404
                return self.answer(code, {"error": f"POST /predict, up to {MOST_BYTES:,} bytes"})
            data = self.rfile.read(int(length))
            self.close_connection = len(data) < int(length)
            try:
                found = run.predict(data)
            except netspec.NetspecError as error:  # no picture, or none that the net can take
                return self.answer(400, {"error": error.diagnostics[0].message})
            return self.answer(200, found)

        def answer(self, code: int, content: dict) -> None:
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *about: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    with server(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8000) as made:
        print(f"http://127.0.0.1:{made.server_port}/predict")
        made.serve_forever()
