"""A proxy that changes the server's answers on their way, to see whether the clients' cases notice."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Change = Callable[[Any], Any]
"""Takes a decoded answer and returns the deviating one."""

_TIMEOUT_S = 30
_PASSED_ON = ("authorization", "content-type", "api-key")


@contextmanager
def deviating(url: str, change: Change) -> Generator[str]:
    """Stand before a server; every answer to a POST with status 200 is changed. Yields the proxy's URL.

    The harness's own request, which says what is right, comes with the user agent of urllib and is left alone.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on(None)

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers.get("content-length", "0"))))

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 the name in http.server

        def _pass_on(self, body: bytes | None) -> None:
            headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
            request = urllib.request.Request(url + self.path, data=body, headers=headers, method=self.command)
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                    status, answer = int(response.status), bytes(response.read())
            except urllib.error.HTTPError as error:
                with error:
                    status, answer = error.code, error.read()
            asked_by_harness = self.headers.get("user-agent", "").startswith("Python-urllib")
            if body is not None and status == 200 and not asked_by_harness:
                answer = json.dumps(change(json.loads(answer))).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
