"""A server that misbehaves on the socket: reset, silence, truncation, drip, endless answers."""

import contextlib
import json
import socket
import struct
import threading


class RawServer:
    """Accepts connections on 127.0.0.1 and gives each to `handle(connection, server)` on a thread of its own.

    `stopping` is set at the end, for handlers that wait. `accepted` counts connections; `requests` is for handlers to
    count in.
    """

    def __init__(self, handle):
        self._handle = handle
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = []
        self._connections = []
        self.stopping = threading.Event()
        self.accepted = self.requests = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        self._listener.settimeout(0.05)
        self._threads.append(threading.Thread(target=self._accept))
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self._threads[0].join(10)
        for connection in self._connections:  # a client may keep them for longer
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10)
            assert not thread.is_alive()
        self._listener.close()

    def all_closed(self):
        """Wait until all that came so far has been handled."""
        for thread in self._threads[1:]:
            thread.join(10)

    def _accept(self):
        while not self.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                self.accepted += 1
                self._connections.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            self._handle(connection, self)


def read_request(connection):
    """The head and body of one request; `None` when the client closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head, body


def answer(body, status="200 OK", headers=""):
    """A whole HTTP answer in bytes."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def reset(connection):
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def drip(connection, server, data):
    """Send byte by byte, each well within a read time-out, until the client is gone."""
    for byte in data:
        connection.sendall(bytes([byte]))
        if server.stopping.wait(0.02):
            return


def reset_at_once(connection, _server):
    connection.recv(1)  # a reset before that may be met while connecting, and then proves that nothing was sent
    reset(connection)


def reset_after_reading(connection, _server):
    read_request(connection)
    reset(connection)


def reset_amid_body(connection, _server):
    read_request(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"id": "t1"')
    reset(connection)


def close_without_a_byte(connection, _server):
    read_request(connection)


def truncated(connection, _server):
    read_request(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"id": "t1", "status": "in_progress"}')


def truncated_chunks(connection, _server):
    read_request(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{"id": "t1"}\r\n')


def garbage(connection, _server):
    read_request(connection)
    connection.sendall(b"\x00\x01\x02 no http at all\r\n\r\n")


def silence(connection, server):
    read_request(connection)
    server.stopping.wait(10)


def drip_body(connection, server):
    read_request(connection)
    drip(connection, server, answer(b'{"id": "t1", "status": "in_progress"' + b" " * 5000 + b"}"))


def drip_chunks(connection, server):
    read_request(connection)
    drip(connection, server, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 1000)


def drip_headers(connection, server):
    read_request(connection)
    drip(connection, server, b"HTTP/1.1 200 OK\r\n" + b"X-Long: 1\r\n" * 500)


def endless(connection, server):
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not server.stopping.is_set():
        connection.sendall(b" " * 65536)


def endless_redirect(connection, server):
    read_request(connection)
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n")
    while not server.stopping.is_set():
        connection.sendall(b" " * 65536)


BROKEN = [
    (reset_at_once, "ConnectionError"),
    (reset_after_reading, "ConnectionError"),
    (reset_amid_body, "ProtocolError"),
    (close_without_a_byte, "ConnectionError"),
    (truncated, "ProtocolError"),
    (truncated_chunks, None),
    (garbage, "ConnectionError"),
    (silence, "ReadTimeout"),
    # Met in the body, or already in the head where the machine is slow.
    (drip_body, "ReadTimeoutError ReadTimeout"),
    (drip_chunks, "ReadTimeoutError ReadTimeout"),
    (drip_headers, "ReadTimeout"),
    (endless, "AnswerTooLarge"),
    (endless_redirect, "AnswerTooLarge"),
]
HANGING = (silence, drip_body, drip_chunks, drip_headers)
"""Those that only a time-out ends. The others end by themselves, however long a busy machine takes for it."""
