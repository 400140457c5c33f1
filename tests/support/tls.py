"""TLS in front of a server that speaks none: what a client meets is the real handshake, with certificates for tests."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from contextlib import suppress
from pathlib import Path

CERTIFICATES = Path(__file__).parent / "certificates"
CA = CERTIFICATES / "ca.pem"
OTHER_CA = CERTIFICATES / "other-ca.pem"
_HANDSHAKE = b"\x16"
"""The first byte of TLS; no command of Redis begins with it."""
# What a client of PostgreSQL sends first: its length, and the number that asks for TLS.
_SSL_REQUEST = struct.pack("!II", 8, 80877103)


class TlsProxy:
    """Ends TLS on a free port and hands everything on to `target`: a port of this machine, or the path of a socket.

    `postgres` answers the request for TLS that PostgreSQL's clients begin with. With `client_ca`, clients need a
    certificate. `plain` hands on those as well who speak no TLS. `connections` and `plain_connections` count.
    """

    def __init__(
        self,
        target: int | str,
        *,
        postgres: bool = False,
        plain: bool = False,
        client_ca: Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._target, self._postgres, self._plain = target, postgres, plain
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
        if client_ca is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(client_ca)
        self.connections = self.plain_connections = 0
        self._closed = False
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._closed = True  # a client may keep its connection for long, with nothing to say
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(60)
            if self._postgres:
                if client.recv(8, socket.MSG_WAITALL) != _SSL_REQUEST:
                    return  # whoever asks for no TLS gets no answer
                client.sendall(b"S")
            if self._plain and client.recv(1, socket.MSG_PEEK) != _HANDSHAKE:
                with self._connect() as server:
                    self.plain_connections += 1
                    self._hand_on(client, server)
                return
            with self._context.wrap_socket(client, server_side=True) as secure, self._connect() as server:
                self.connections += 1
                self._hand_on(secure, server)

    def _connect(self) -> socket.socket:
        if isinstance(self._target, int):
            return socket.create_connection(("127.0.0.1", self._target))
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        return server

    def _hand_on(self, secure: socket.socket, server: socket.socket) -> None:
        """Both ways by turns, waiting on both: an SSL connection is not safe in two threads."""
        secure.settimeout(0.005)
        server.settimeout(0.005)
        while not self._closed:
            for source, sink in ((secure, server), (server, secure)):
                try:
                    data = source.recv(1 << 16)
                except TimeoutError:
                    continue
                if not data:
                    return
                sink.settimeout(60)
                sink.sendall(data)
                sink.settimeout(0.005)
