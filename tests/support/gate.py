"""A gate between a client and a server: answers to chosen requests wait in it until they are let go."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

_METHODS = (b"GET ", b"POST ", b"PUT ")


class Gate:
    """Hands every request on at once. While it is shut for some kinds, answers to those stay in the gate.

    So the server has done what it was asked to, and the client does not know: the moment at which it matters who dies.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = threading.Event()
        self._open.set()
        self._kinds: tuple[bytes, ...] = ()
        self._after_bytes = 0
        self.held = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self, *kinds: bytes, after_bytes: int = 0) -> None:
        """From now on hold answers to requests that begin like this back, after their first `after_bytes` bytes."""
        self.held = 0
        self._kinds, self._after_bytes = kinds, after_bytes
        self._open.clear()

    def let_go(self) -> None:
        """Let what is held go, and hold nothing any more."""
        self._open.set()

    def close(self) -> None:
        self.let_go()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            asked: list[bytes] = []
            threading.Thread(target=self._hand_on, args=(client, server, asked), daemon=True).start()
            passed = 0
            while answer := server.recv(1 << 16):
                if asked and not self._open.is_set() and asked[-1].startswith(self._kinds):
                    before = max(0, self._after_bytes - passed)
                    client.sendall(answer[:before])
                    if len(answer) > before:
                        self.held += 1
                        self._open.wait()
                        client.sendall(answer[before:])
                else:
                    client.sendall(answer)
                passed += len(answer)

    def _hand_on(self, client: socket.socket, server: socket.socket, asked: list[bytes]) -> None:
        with suppress(OSError):
            while request := client.recv(1 << 16):
                if request.startswith(_METHODS):  # else it is more of a body
                    asked.append(request[:64])
                server.sendall(request)
            server.shutdown(socket.SHUT_WR)
