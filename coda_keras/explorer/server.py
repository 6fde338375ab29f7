"""A web server for one page and its questions, on this machine only."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOOPBACK = "127.0.0.1"
MAX_REQUEST = 64 * 2**20
PREDICT = "predict"


def local_server(
    page: str, answer: Callable[[Any], dict[str, Any]], port: int = 0
) -> ThreadingHTTPServer:
    """Returns a server of `page` at `/`, and of `answer` to JSON posted to `/predict`.

    It listens on 127.0.0.1 and answers only requests to that address, so that no other web site
    reaches it through a name of its own. Call its `serve_forever`.

    Args:
        page: HTML, made with `predict="predict"`.
        answer: function from the request to what is answered, such as a `Removal`.
        port: TCP port; 0 takes a free one.
    """
    body = page.encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self._refused("/"):
                return
            self._send(200, body, "text/html; charset=utf-8")

        def do_POST(self) -> None:
            if self._refused(f"/{PREDICT}"):
                return
            length = whole_number(self.headers.get("Content-Length"))
            if length is None or length > MAX_REQUEST:
                self._fail(413, "The request is too large.")
                return
            try:
                request = json.loads(self.rfile.read(length))
            except (ValueError, RecursionError):
                self._fail(400, "The request is no JSON.")
                return
            self._send(200, json.dumps(answer(request)).encode(), "application/json")

        def _refused(self, path):
            if self.headers.get("Host") not in hosts:
                self._fail(403, "This server answers on its own address only.")
            elif self.command == "POST" and self.headers.get_content_type() != "application/json":
                # Forms of other sites can post anything but this.
                self._fail(415, "Expected JSON.")
            elif self.path != path:
                self._fail(404, "There is nothing here.")
            else:
                return False
            return True

        def _fail(self, code, sentence):
            self.close_connection = True
            self._send(code, json.dumps({"error": sentence}).encode(), "application/json")

        def _send(self, code, data, content_type):
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Says nothing of requests."""

    server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    server.daemon_threads = True
    hosts = {f"{name}:{server.server_port}" for name in (LOOPBACK, "localhost")}
    return server


def whole_number(value: Any) -> int | None:
    """Returns a whole number from 0 up, of a header, a query or JSON; None for anything else.

    Example:

    >>> whole_number("12"), whole_number("\\u00b2"), whole_number("9" * 5000), whole_number(None)
    (12, None, None, None)
    """
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
