"""A server that speaks HTTP/2 alone, by TLS: just enough of it to answer every request in the same way."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from contextlib import suppress

from tests.support.tls import CERTIFICATES

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4


class Http2Server:
    """Answers every stream with `status`, `headers` and `body`; a connection that is `silent` reads and says nothing.

    Counters: `connections` made, `streams` answered.
    """

    def __init__(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._body, self._head = body, _block(status, headers or {})
        self.connections = self.streams = 0
        self._silent = threading.Event()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
        self._context.set_alpn_protocols(["h2"])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self) -> None:
        """Say nothing more on the connections that are open; those to come are not touched."""
        self._silent.set()
        self._silent = threading.Event()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client, self._silent), daemon=True).start()

    def _serve(self, client: socket.socket, silent: threading.Event) -> None:
        with client, suppress(OSError):
            client.settimeout(60)
            with self._context.wrap_socket(client, server_side=True) as secure, secure.makefile("rb") as source:
                if source.read(len(_PREFACE)) != _PREFACE:
                    return
                self.connections += 1
                secure.sendall(_frame(_SETTINGS, 0, 0))
                while head := source.read(9):
                    length, kind, flags, stream = struct.unpack("!xHBBI", head)
                    payload = source.read(length)
                    if silent.is_set():
                        continue
                    if kind == _SETTINGS and not flags & _ACK:
                        secure.sendall(_frame(_SETTINGS, _ACK, 0))
                    elif kind == _PING and not flags & _ACK:
                        secure.sendall(_frame(_PING, _ACK, 0, payload))
                    elif kind == _HEADERS:
                        self.streams += 1
                        answer = _frame(_HEADERS, _END_HEADERS, stream, self._head)
                        secure.sendall(answer + _frame(_DATA, _END_STREAM, stream, self._body))


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!xHBBI", len(payload), kind, flags, stream) + payload


def _block(status: int, headers: dict[str, str]) -> bytes:
    """A header block without compression: each a literal that is not to be remembered."""
    fields = [b"\x08\x03" + str(status).encode()]  # the name `:status` is the eighth of those known to all
    for name, value in headers.items():
        fields.append(b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode())
    return b"".join(fields)
