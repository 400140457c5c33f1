"""Asking about many tasks at once, against servers that misbehave: libcurl comes to what `VtrixClient.poll` does.

What it does alone, over HTTP/2, comes last.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests.adapters

from tasks.domain.answers import Completed, Failed, LookAgain, NotFound, PollAnswer, Running
from tasks.transport import Deadlines
from tasks.vtrix import curl
from tasks.vtrix.asking import Answer, Asker, Look, Timed
from tasks.vtrix.client import MAX_ANSWER_BYTES, VtrixClient
from tasks.vtrix.curl import CurlAsker
from tests.support.asking import ThreadAsker
from tests.support.http2 import Http2Server
from tests.support.proxy import PASS, Fault, FaultProxy
from tests.support.raw import BROKEN, HANGING, RawServer, answer, read_request
from tests.support.simulator import running
from tests.support.tls import CA, OTHER_CA, TlsProxy
from tests.support.waiting import wait_until

pytestmark = pytest.mark.enable_socket

RUNNING = {"id": "t1", "status": "in_progress", "progress": 0.5}
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


class Asking:
    """One of the two ways to ask, and short words for it."""

    def __init__(self, make: Callable[[Timed], Asker], **limits: float) -> None:
        self.took_s: list[float] = []
        self.asker, self.limits = make(self.took_s.extend), limits
        self.stack = contextlib.ExitStack()

    def client(self, url: str, key: str = "key-main", **limits: float) -> VtrixClient:
        client = VtrixClient(
            url, key, "main", create=within(**limits), poll=within(**limits), pool_size=32, now=lambda: NOW
        )
        return self.stack.enter_context(contextlib.closing(client))

    def ask(self, client: VtrixClient, *tasks: str) -> list[Any]:
        """The answers in the order of the tasks; each has come exactly once."""
        looks = [Look(client, task) for task in tasks]
        found = [each for group in self.groups(looks) for each in group]
        assert len(found) == len(looks)
        answers = dict(found)
        return [answers[look] for look in looks]

    def groups(self, looks: Sequence[Look]) -> Iterator[list[tuple[Look, Answer]]]:
        """The answers as they come, of all looks asked about at once."""
        left = list(looks)

        def more(room: int) -> list[Look]:
            given, left[:] = left[:room], left[room:]
            return given

        return self.asker.ask_many(more, max(1, len(looks)))

    def one(self, url: str, task: str = "t1") -> PollAnswer:
        (found,) = self.ask(self.client(url, **self.limits), task)
        return found


def within(connect_s: float = 10.0, read_s: float = 10.0, total_s: float = 60.0) -> Deadlines:
    return Deadlines(connect_s, read_s, total_s)


Make = Callable[..., Asking]


@pytest.fixture(params=["threads", "curl"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes an asker whose polls have these deadlines."""
    with contextlib.ExitStack() as stack:

        def asking(**limits: float) -> Asking:
            if request.param == "curl":
                made = Asking(lambda timed: CurlAsker(within(**limits), timed), **limits)
            else:
                threads = stack.enter_context(ThreadPoolExecutor(32))
                made = Asking(lambda timed: ThreadAsker(threads, timed), **limits)
            stack.callback(made.asker.close)
            stack.enter_context(made.stack)
            return made

        yield asking


@pytest.fixture
def asking(make: Make) -> Asking:
    return make()


def serving(body: Any, status: str = "200 OK", headers: str = "", times: int = 1000) -> RawServer:
    """A server that gives this answer, on kept connections that end after so many."""

    def handle(connection: socket.socket, server: RawServer) -> None:
        for _ in range(times):
            if read_request(connection) is None:
                return
            server.requests += 1
            connection.sendall(answer(body, status, headers))

    return RawServer(handle)


DONE = {
    "id": "t1",
    "status": "completed",
    "output": [{"content": [{"type": "video", "url": "https://cdn.example/v.mp4?sig=canary"}]}],
    "usage": {"cost": "0.28"},
}
ANSWERS = [
    (RUNNING, "200 OK", "", Running(0.5)),
    ({**RUNNING, "status": "pondering"}, "200 OK", "", Running(0.5, status_known=False)),
    ({**RUNNING, "id": "t2"}, "200 OK", "", LookAgain("answer about another task")),
    (b"<html>", "200 OK", "", LookAgain("unreadable answer")),
    (b"", "204 No Content", "", LookAgain("unreadable answer")),
    ({}, "404 Not Found", "", NotFound()),
    ({}, "401 Unauthorized", "", LookAgain("HTTP 401", key_refused=True)),
    ({}, "429 Too Many Requests", "Retry-After: 7\r\n", LookAgain("HTTP 429", 7.0, throttled=True)),
    ({}, "429 Slow", "rEtRy-AfTeR:  Thu, 01 Jan 2026 12:00:20 GMT \r\n", LookAgain("HTTP 429", 20.0, throttled=True)),
    ({}, "429 Slow", "Retry-After: 7\r\nRetry-After: 9\r\n", LookAgain("HTTP 429", throttled=True)),
    ({}, "503 Service Unavailable", "Retry-After: 3\r\n", LookAgain("HTTP 503", 3.0)),
    ({}, "500 Internal Server Error", "X-Retry-After: 3\r\n", LookAgain("HTTP 500")),
    ({}, "302 Found", "Location: /elsewhere\r\n", LookAgain("HTTP 302")),
    (RUNNING, "307 Temporary Redirect", "Location: https://elsewhere.example/\r\n", LookAgain("HTTP 307")),
]


@pytest.mark.parametrize(("body", "status", "headers", "meant"), ANSWERS, ids=lambda value: str(value)[:24])
def test_a_whole_answer_means_the_same_either_way(
    asking: Asking, body: Any, status: str, headers: str, meant: PollAnswer
) -> None:
    with serving(body, status, headers) as server:
        assert asking.one(server.url) == meant
    assert server.accepted == 1  # nothing is followed, nothing tried again


def test_each_poll_is_timed_once_whatever_came_of_it(make: Make) -> None:
    asking = make(read_s=1.0)
    silent = RawServer(lambda _connection, server: server.stopping.wait(30))
    with serving(RUNNING) as server, silent:
        asking.ask(asking.client(server.url), *(f"t{n}" for n in range(20)))
        assert len(asking.took_s) == 20
        assert all(0 < each < 60 for each in asking.took_s)
        asking.one(silent.url)
    assert len(asking.took_s) == 21
    assert asking.took_s[-1] >= 0.9
    asking.one("http://127.0.0.1:1")  # nobody listens
    assert len(asking.took_s) == 22


def test_final_answers_are_read_whole(asking: Asking) -> None:
    with serving(DONE) as server:
        done = asking.one(server.url)
    assert isinstance(done, Completed)
    assert (done.outputs[0].url, str(done.usage.cost_usd)) == ("https://cdn.example/v.mp4?sig=canary", "0.28")
    with serving({"id": "t1", "status": "failed", "error": {"code": 10004095, "message": "for key-main"}}) as server:
        failed = asking.one(server.url)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.message) == ("010004095", "for …")


@pytest.mark.parametrize(("handle", "reason"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_what_brings_no_whole_answer_is_another_look(make: Make, handle: Any, reason: str | None) -> None:
    with RawServer(handle) as server:
        found = (make(read_s=0.5, total_s=1.0) if handle in HANGING else make()).one(server.url)
    assert isinstance(found, LookAgain)
    assert not found.key_refused
    assert reason is None or found.reason in reason.split()


def test_a_body_that_stalls_meets_the_read_timeout(make: Make) -> None:
    def handle(connection: socket.socket, server: RawServer) -> None:
        read_request(connection)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"id"')
        server.stopping.wait(60)

    with RawServer(handle) as server:
        assert make(read_s=2.0).one(server.url) == LookAgain("ReadTimeoutError")


def test_an_answer_that_comes_by_and_by_is_bounded_by_the_whole_alone(make: Make) -> None:
    def handle(connection: socket.socket, server: RawServer) -> None:
        read_request(connection)
        whole = answer(RUNNING)
        for byte in whole:
            connection.sendall(bytes([byte]))
            server.stopping.wait(0.01)

    with RawServer(handle) as server:
        assert make(read_s=1.0).one(server.url) == Running(0.5)


def test_a_refused_connection_is_another_look(asking: Asking) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert asking.one(url) == LookAgain("ConnectionRefused")


def test_a_black_hole_meets_the_connect_timeout(make: Make) -> None:
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
        asking = make(connect_s=0.3, read_s=60, total_s=60)
        assert asking.ask(asking.client(url, **asking.limits), "a", "b") == [LookAgain("ConnectTimeout")] * 2


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (gzip.compress(json.dumps(RUNNING).encode()), Running(0.5)),
        (gzip.compress(json.dumps(RUNNING).encode())[:-20], LookAgain("unreadable answer")),
        (json.dumps(RUNNING).encode(), LookAgain("DecodeError")),
        (gzip.compress(b" " * 50_000_000), LookAgain("AnswerTooLarge")),
    ],
    ids=["whole", "truncated", "none", "bomb"],
)
def test_an_encoded_answer_is_read_within_the_same_bounds(asking: Asking, body: bytes, found: PollAnswer) -> None:
    with serving(body, headers="Content-Encoding: gzip\r\n") as server:
        assert asking.one(server.url) == found


@pytest.mark.parametrize(("more", "found"), [(0, Running(0.5)), (1, LookAgain("AnswerTooLarge"))])
def test_an_answer_may_have_so_many_bytes_and_no_more(asking: Asking, more: int, found: PollAnswer) -> None:
    with serving(json.dumps(RUNNING).encode().ljust(MAX_ANSWER_BYTES + more)) as server:
        assert asking.one(server.url) == found


def test_requests_look_the_same_and_take_nothing_from_the_environment(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heads: list[bytes] = []

    def handle(connection: socket.socket, _server: RawServer) -> None:
        while request := read_request(connection):
            heads.append(request[0])
            connection.sendall(answer(RUNNING, headers="Set-Cookie: crumb=1\r\n"))

    (tmp_path / ".netrc").write_text("default login me password canary\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with RawServer(handle) as server:
        client = asking.client(server.url + "/base/")
        for _ in range(2):
            asking.ask(client, "a/b?c")
    place = server.url.removeprefix("http://")
    for head in heads:
        first, *lines = head.decode().split("\r\n")
        assert first == "GET /base/model/v1/generation/task/a%2Fb%3Fc HTTP/1.1"
        assert sorted(lines) == [
            "Accept-Encoding: identity",
            "Accept: application/json",
            "Authorization: Bearer key-main",
            f"Host: {place}",
            "User-Agent: reelworks",
        ]
    assert len(heads) == 2


def test_every_task_is_asked_about_with_its_own_key(asking: Asking) -> None:
    seen: set[tuple[bytes, bytes]] = set()

    def handle(connection: socket.socket, _server: RawServer) -> None:
        while request := read_request(connection):
            first, *lines = request[0].split(b"\r\n")
            key = next(line.removeprefix(b"Authorization: ") for line in lines if line.startswith(b"Auth"))
            seen.add((first.split(b" ")[1].rsplit(b"/")[-1], key))
            connection.sendall(answer({"status": "in_progress"}))

    with RawServer(handle) as server:
        clients = [asking.client(server.url, key) for key in ("key-a", "key-b", "key-c")]
        for turn in range(3):
            looks = [Look(clients[(n + turn) % 3], f"{turn}-{(n + turn) % 3}") for n in range(9)]
            assert sum(len(group) for group in asking.groups(looks)) == 9
    assert seen == {(f"{turn}-{n}".encode(), f"Bearer key-{'abc'[n]}".encode()) for turn in range(3) for n in range(3)}


def test_connections_are_kept_from_one_batch_to_the_next(asking: Asking) -> None:
    with serving({"status": "in_progress"}) as server:
        client = asking.client(server.url)
        for _ in range(4):
            assert asking.ask(client, *"abcdefgh") == [Running()] * 8
        assert server.accepted <= 8


def test_a_kept_connection_that_the_server_closed_is_replaced(asking: Asking) -> None:
    with serving(RUNNING, times=1) as server:
        client = asking.client(server.url)
        answers = [asking.ask(client, "t1")[0] for _ in range(5)]
    assert Running(0.5) in answers
    assert {type(each) for each in answers} <= {Running, LookAgain}


def test_answers_stand_where_their_looks_stood(asking: Asking) -> None:
    def handle(connection: socket.socket, _server: RawServer) -> None:
        while request := read_request(connection):
            task = request[0].split(b" ")[1].rsplit(b"/", 1)[1].decode()
            connection.sendall(answer({"id": task, "status": "in_progress", "progress": int(task) / 1000}))

    with RawServer(handle) as server:
        client = asking.client(server.url)
        for _ in range(2):
            tasks = [str(n) for n in range(100)]
            assert asking.ask(client, *tasks) == [Running(n / 1000) for n in range(100)]


def test_one_that_is_long_in_coming_holds_up_none_of_the_others(asking: Asking) -> None:
    others_taken = threading.Event()

    def handle(connection: socket.socket, _server: RawServer) -> None:
        while request := read_request(connection):
            if request[0].split(b" ")[1].endswith(b"slow"):
                others_taken.wait(60)
            connection.sendall(answer({"status": "in_progress"}))

    with RawServer(handle) as server:
        client = asking.client(server.url)
        taken: list[str] = []
        for group in asking.groups([Look(client, task) for task in ("a", "slow", "b", "c")]):
            taken += [look.provider_task_id for look, _ in group]
            if len(taken) == 3:
                assert "slow" not in taken
                others_taken.set()
    assert sorted(taken) == ["a", "b", "c", "slow"]


def test_it_asks_on_while_one_is_long_in_coming(asking: Asking) -> None:
    asked_on, lock = threading.Event(), threading.Lock()
    under_way, most = 0, 0

    def handle(connection: socket.socket, _server: RawServer) -> None:
        nonlocal under_way, most
        while request := read_request(connection):
            with lock:
                under_way += 1
                most = max(most, under_way)
            if request[0].split(b" ")[1].endswith(b"slow"):
                asked_on.wait(60)
            with lock:
                under_way -= 1
            connection.sendall(answer({"status": "in_progress"}))

    with RawServer(handle) as server:
        client = asking.client(server.url)
        left = [Look(client, "slow"), *(Look(client, str(n)) for n in range(20))]

        def more(room: int) -> list[Look]:
            assert 0 < room <= 3
            given, left[:] = left[:room], left[room:]
            return given

        taken: list[str] = []
        for group in asking.asker.ask_many(more, 3):
            taken += [look.provider_task_id for look, _ in group]
            if len(taken) == 20 and not group:  # an empty one, while the slow one alone is under way
                asked_on.set()
    assert sorted(taken[:20], key=int) == [str(n) for n in range(20)]
    assert taken[20:] == ["slow"]
    assert most <= 3


def test_an_error_of_our_own_stands_for_the_one_answer_that_it_concerns(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = VtrixClient.answer_of

    def answer_of(self: VtrixClient, reply: Any, task: str) -> PollAnswer:
        if task == "t2":
            raise ZeroDivisionError
        return read(self, reply, task)

    monkeypatch.setattr(VtrixClient, "answer_of", answer_of)
    with serving({"status": "in_progress"}) as server:
        first, second, third, fourth = asking.ask(asking.client(server.url), "t1", "t2", "\ud800", "t4")
    assert (first, fourth) == (Running(), Running())
    assert (type(second), type(third)) == (ZeroDivisionError, UnicodeEncodeError)


def test_whoever_wants_no_more_answers_leaves_nothing_behind(asking: Asking) -> None:
    def handle(connection: socket.socket, server: RawServer) -> None:
        while request := read_request(connection):
            if request[0].split(b" ")[1].endswith(b"slow"):
                server.stopping.wait(60)
            connection.sendall(answer({"status": "in_progress"}))

    with RawServer(handle) as server:
        client = asking.client(server.url)
        looks = [Look(client, "a"), Look(client, "slow")]
        answers = asking.groups(looks)
        assert next(each for each in answers if each) == [(looks[0], Running())]
        answers.close()  # type: ignore[attr-defined]
        assert asking.ask(client, "b") == [Running()]


def test_many_threads_may_ask_at_the_same_time(asking: Asking) -> None:
    with serving({"status": "in_progress"}) as server, ThreadPoolExecutor(4) as threads:
        client = asking.client(server.url)
        found = threads.map(lambda _: asking.ask(client, *"abcdefgh"), range(20))
        assert list(found) == [[Running()] * 8] * 20


def test_nothing_to_ask_is_answered_by_nothing(asking: Asking) -> None:
    assert list(asking.groups([])) == []


def test_an_interim_answer_and_trailers_say_nothing_about_when_to_ask_again(make: Make) -> None:
    def handle(connection: socket.socket, _server: RawServer) -> None:
        read_request(connection)
        connection.sendall(
            b"HTTP/1.1 100 Continue\r\nRetry-After: 1\r\n\r\nHTTP/1.1 503 Away\r\nTransfer-Encoding: chunked\r\n"
            b"Retry-After: 2\r\n\r\n2\r\n{}\r\n0\r\nRetry-After: 3\r\n\r\n"
        )

    with RawServer(handle) as server:
        assert make().one(server.url) == LookAgain("HTTP 503", 2.0)


FAULTS = [
    (Fault(refuse=True), "ConnectionRefused"),
    (Fault(swallow=True), "ReadTimeout"),
    (Fault(cut_after_bytes=5, direction="to_client"), "ConnectionError"),
]


def test_the_simulator_is_followed_to_the_end_through_connections_that_break(make: Make, tmp_path: Path) -> None:
    with running(tmp_path, "--speed", "60") as simulator, FaultProxy(int(simulator.url.rsplit(":")[-1])) as proxy:
        simulator.script()
        task = simulator.create(key="sk-main").json()["id"]
        patient, hasty = make(), make(read_s=1)  # only what is swallowed is to meet a time-out

        def ask(by: Asking) -> list[PollAnswer]:
            return by.ask(by.client(f"http://127.0.0.1:{proxy.port}", "sk-main", **by.limits), task, "0" * 20)

        for fault, reason in FAULTS:
            proxy.fault = fault
            assert ask(hasty if fault.swallow else patient) == [LookAgain(reason)] * 2
        proxy.fault = PASS
        proxy.cut()
        for by in (patient, hasty):
            done, unknown = wait_until(lambda: _ended(ask(by)), within_s=60, what="the film")  # noqa: B023
            assert (type(done), unknown) == (Completed, NotFound())


def _ended(answers: list[PollAnswer]) -> list[PollAnswer] | None:
    return answers if isinstance(answers[0], Completed | Failed) else None


class TestTls:
    @pytest.fixture
    def plain(self) -> Iterator[RawServer]:
        with serving({"status": "in_progress"}) as server:
            yield server

    @pytest.fixture
    def server(self, plain: RawServer) -> Iterator[TlsProxy]:
        with contextlib.closing(TlsProxy(int(plain.url.rsplit(":")[-1]))) as secure:
            yield secure

    @pytest.fixture
    def trusts(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
        """Has both clients trust another authority than certifi's."""

        def trust(authority: Path) -> None:
            monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(authority))
            monkeypatch.setattr(curl, "DEFAULT_CA_BUNDLE_PATH", str(authority))

        return trust

    def test_certifis_authorities_are_those_that_count(
        self, plain: RawServer, server: TlsProxy, asking: Asking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(name, str(CA))
        assert asking.one(f"https://localhost:{server.port}") == LookAgain("SSLError")
        server.close()
        assert plain.requests == 0

    def test_a_server_that_they_vouch_for_is_asked(
        self, server: TlsProxy, asking: Asking, trusts: Callable[[Path], None]
    ) -> None:
        trusts(CA)
        client = asking.client(f"https://localhost:{server.port}")
        for _ in range(2):
            assert asking.ask(client, *"abcd") == [Running()] * 4
        assert server.connections <= 4

    @pytest.mark.parametrize(("authority", "host"), [(OTHER_CA, "127.0.0.1"), (CA, "127.0.0.2")])
    def test_one_of_another_authority_or_name_is_told_nothing(
        self, plain: RawServer, asking: Asking, trusts: Callable[[Path], None], authority: Path, host: str
    ) -> None:
        trusts(authority)
        with contextlib.closing(TlsProxy(int(plain.url.rsplit(":")[-1]), host=host)) as server:
            assert asking.one(f"https://{host}:{server.port}") == LookAgain("SSLError")
        assert plain.requests == 0

    def test_a_handshake_that_is_not_answered_is_another_look(self, make: Make) -> None:
        def handle(connection: socket.socket, server: RawServer) -> None:
            connection.recv(100)
            server.stopping.wait(60)

        with RawServer(handle) as server:
            found = make(connect_s=0.5).one(server.url.replace("http:", "https:"))
        assert found == LookAgain("ReadTimeout")


class TestHttp2:
    @pytest.fixture
    def asker(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
        monkeypatch.setattr(curl, "DEFAULT_CA_BUNDLE_PATH", str(CA))
        made = Asking(lambda timed: CurlAsker(within(read_s=3.0), timed))
        with made.stack, contextlib.closing(made.asker):
            yield made

    @pytest.fixture
    def server(self) -> Iterator[Http2Server]:
        with contextlib.closing(Http2Server(b'{"status": "in_progress"}')) as made:
            yield made

    def test_all_polls_of_a_batch_and_of_the_next_share_one_connection(
        self, asker: Asking, server: Http2Server
    ) -> None:
        client = asker.client(server.url)
        for _ in range(3):
            assert asker.ask(client, *"abcdefghijklmnop") == [Running()] * 16
        assert (server.connections, server.streams) == (1, 48)

    def test_its_headers_are_read_as_those_of_http_1(self, asker: Asking) -> None:
        with contextlib.closing(Http2Server(b"{}", 429, {"retry-after": "7"})) as server:
            assert asker.one(server.url) == LookAgain("HTTP 429", 7.0, throttled=True)

    def test_a_connection_that_has_fallen_silent_is_not_used_again(self, asker: Asking, server: Http2Server) -> None:
        client = asker.client(server.url)
        assert asker.ask(client, "a", "b") == [Running()] * 2
        server.fall_silent()
        assert asker.ask(client, "a", "b") == [LookAgain("ReadTimeout")] * 2
        assert asker.ask(client, "a", "b") == [Running()] * 2
        assert server.connections == 2
