"""The client against a server that misbehaves on the socket: reset, silence, truncation, drip, and no server at all."""

import contextlib
import errno
import gzip
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.domain.answers import Accepted, LookAgain, Running, Unknown, Unsent
from tasks.transport import Deadlines
from tasks.vtrix.client import VtrixClient
from tests.support.raw import BROKEN, HANGING, RawServer, answer, read_request, reset

pytestmark = pytest.mark.enable_socket

BODY = {"model": "m", "input": [{"params": {"prompt": "p"}}]}


def client_for(url, *, connect_timeout_s=10.0, read_timeout_s=10.0, total_timeout_s=60.0, pool_size=8):
    within = Deadlines(connect_timeout_s, read_timeout_s, total_timeout_s)
    return contextlib.closing(
        VtrixClient(
            url,
            "key",
            "main",
            create=within,
            poll=within,
            pool_size=pool_size,
        )
    )


@pytest.mark.parametrize(("handle", "reason"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_call_that_brings_no_whole_answer_is_unknown_on_create_and_another_look_on_poll(handle, reason):
    limits = {"read_timeout_s": 0.5, "total_timeout_s": 1.0} if handle in HANGING else {}
    with RawServer(handle) as server, client_for(server.url, **limits) as client:
        created, polled = client.create(BODY), client.poll("t1")
    assert isinstance(created, Unknown)
    assert isinstance(polled, LookAgain)
    assert not polled.key_refused
    if reason:
        assert {created.reason, polled.reason} <= set(reason.split())


def test_refused_connection_is_unsent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with client_for(url) as client:
        assert client.create(BODY) == Unsent("ConnectionRefused")
        assert isinstance(client.poll("t1"), LookAgain)


def test_unreachable_network_is_unsent(monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr("urllib3.util.connection.create_connection", fail)
    with client_for("http://127.0.0.1:9") as client:
        assert client.create(BODY) == Unsent("NotConnected")


def test_unresolved_name_is_unsent(monkeypatch):
    def fail(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with client_for("http://nowhere.example") as client:
        assert client.create(BODY) == Unsent("NameNotResolved")
        assert isinstance(client.poll("t1"), LookAgain)


def test_connect_timeout_is_unsent():
    # A listener whose queue is full answers no further handshake.
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = stack.enter_context(client_for(url, connect_timeout_s=0.3))
        assert client.create(BODY) == Unsent("ConnectTimeout")


def _silent_handshake(connection, server):
    connection.recv(100)
    server.stopping.wait(10)


def _reset_handshake(connection, _server):
    connection.recv(100)
    reset(connection)


def _plain_answer_to_handshake(connection, _server):
    connection.recv(100)
    connection.sendall(answer({"id": "t1"}))


@pytest.mark.parametrize(
    "handle", [_silent_handshake, _reset_handshake, _plain_answer_to_handshake], ids=lambda handle: handle.__name__
)
def test_failed_tls_handshake_is_unknown(handle):
    with (
        RawServer(handle) as server,
        client_for(server.url.replace("http:", "https:"), connect_timeout_s=0.3) as client,
    ):
        assert isinstance(client.create(BODY), Unknown)


def test_polls_share_kept_connections_and_every_create_has_its_own():
    def handle(connection, _server):
        while read_request(connection):
            connection.sendall(answer({"id": "t1", "status": "in_progress"}))

    with RawServer(handle) as server, client_for(server.url) as client:
        for _ in range(5):
            assert client.poll("t1") == Running()
        assert server.accepted == 1
        for _ in range(3):
            assert client.create(BODY) == Accepted("t1")
        assert server.accepted == 4


def test_kept_connection_that_the_server_closed_is_replaced():
    def handle(connection, _server):
        read_request(connection)
        connection.sendall(answer({"id": "t1", "status": "in_progress"}))

    with RawServer(handle) as server, client_for(server.url) as client:
        answers = {type(client.poll("t1")) for _ in range(5)}
        assert Running in answers
        assert answers <= {Running, LookAgain}


def test_client_is_safe_to_use_from_many_threads():
    def handle(connection, _server):
        while request := read_request(connection):
            task_id = request[0].split(b" ")[1].rsplit(b"/", 1)[1].decode()
            connection.sendall(answer({"id": task_id, "status": "in_progress", "progress": int(task_id) / 1000}))

    with RawServer(handle) as server, client_for(server.url) as client, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda n: client.poll(str(n)), range(200))) == [Running(n / 1000) for n in range(200)]
        assert server.accepted <= 8


def test_long_upload_may_take_longer_than_the_connect_timeout():
    connect_timeout_s = 0.2
    image = "A" * 30_000_000

    def handle(connection, server):
        connection.recv(1000)
        server.stopping.wait(2 * connect_timeout_s)  # the upload stalls, full buffers and all
        tail = b""
        while not tail.endswith(b"}]}"):
            chunk = connection.recv(1 << 20)
            if not chunk:
                return
            tail = (tail + chunk)[-8:]
        connection.sendall(answer({"id": "t1"}))

    body = {"model": "m", "input": [{"params": {"first_frame_image": image}}]}
    with (
        RawServer(handle) as server,
        client_for(server.url, connect_timeout_s=connect_timeout_s, read_timeout_s=10, total_timeout_s=30) as client,
    ):
        assert client.create(body) == Accepted("t1")


def test_upload_that_nobody_reads_ends_at_the_total_deadline():
    def handle(connection, server):
        connection.recv(1000)
        server.stopping.wait(10)

    body = {"model": "m", "input": [{"params": {"first_frame_image": "A" * 30_000_000}}]}
    with RawServer(handle) as server, client_for(server.url, total_timeout_s=0.5) as client:
        assert isinstance(client.create(body), Unknown)
        assert not server.stopping.is_set()


def test_compressed_answer_is_read_and_a_bomb_is_not():
    small, bomb = gzip.compress(b'{"id": "t1", "status": "in_progress"}'), gzip.compress(b" " * 50_000_000)
    bodies = [small, bomb]

    def handle(connection, _server):
        read_request(connection)
        connection.sendall(answer(bodies.pop(0), headers="Content-Encoding: gzip\r\nConnection: close\r\n"))

    with RawServer(handle) as server, client_for(server.url) as client:
        assert client.poll("t1") == Running()
        assert client.poll("t1") == LookAgain("AnswerTooLarge")
