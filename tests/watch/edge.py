"""What stands between workers and provider: hands everything on, or answers everything itself, or takes nothing."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tests.support.proxy import PASS, Fault, FaultProxy

_BODIES: Final = {
    401: b'{"message": "invalid api key"}',
    404: b'{"message": "not found"}',
    429: b'{"message": "rate limit"}',
    503: b'{"message": "service unavailable"}',
}


class Edge:
    """A provider's outermost server, on `url`; behind it the provider on `port`."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._proxy = FaultProxy(port)
        self.url = f"http://127.0.0.1:{self._proxy.port}"
        self.asked = 0
        """Calls that it answered by itself."""
        self._status = 503
        edge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.do_GET()

            def do_GET(self) -> None:
                edge.asked += 1
                body = _BODIES[edge._status]
                self.send_response(edge._status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Callers may be killed while they are answered."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def answer_all(self, status: int) -> None:
        """From now on every call is answered with this status, and the provider sees none."""
        self._status = status
        self._proxy.lead_to(self._server.server_port)

    def refuse(self) -> None:
        """From now on nobody listens there."""
        self._proxy.fault = Fault(refuse=True)

    def mend(self) -> None:
        """Hand everything on again."""
        self._proxy.fault = PASS
        self._proxy.lead_to(self._behind)

    def close(self) -> None:
        self._proxy.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
