"""Connections that break on purpose, between a client and a real server."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class CuttingProxy:
    """Hands commands on to a server; one that holds `word` is executed, but its answer is lost with the connection."""

    def __init__(self, port: int, word: bytes) -> None:
        self._target, self._word = port, word
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, socket.create_connection(("127.0.0.1", self._target)) as server, suppress(OSError):
                    self._serve(client, server)

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        while sent := client.recv(1 << 20):
            server.sendall(sent)
            answer = server.recv(1 << 20)
            if self._word in sent:
                self.cuts += 1
                return
            client.sendall(answer)
