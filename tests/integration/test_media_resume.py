"""Transfers that break off: taken up where the server can, begun anew where it can't, and bounded in every way."""

import gzip
import hashlib

import pytest

from tasks.media import partial
from tasks.media.errors import FetchExpired, FetchInterrupted, FetchRefused, NoRoom
from tasks.media.fetch import MAX_RESUMES, fetch
from tasks.outward import Reach, guarded_session
from tasks.transport import Deadlines
from tests.support.raw import RawServer, answer, drip, read_request

pytestmark = pytest.mark.enable_socket

DATA = b"\0\0\0\x20ftypisom" + bytes(range(256)) * 4000
OTHER = DATA[:12] + DATA[:11:-1]
FIRST = 400_000
ETAG = 'ETag: "v1"\r\n'


class Server(RawServer):
    """Sends the first part of `DATA` and breaks off; `later(start)` is what it sends to each further request.

    `asked` are the ranges and versions that were asked for.
    """

    def __init__(self, later, headers=ETAG, first=None):
        self.asked = []
        self._first = answer(DATA, headers=headers)[: FIRST - len(DATA)] if first is None else first
        self._later = later
        super().__init__(self._one)

    def _one(self, connection, _server):
        head = read_request(connection)[0].decode()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
        self.asked.append((headers.get("Range"), headers.get("If-Range")))
        if len(self.asked) == 1:
            connection.sendall(self._first)
            return
        start = int(headers["Range"][6:-1]) if "Range" in headers else None
        sent = self._later(start)
        if callable(sent):
            sent(connection, self)
        else:
            connection.sendall(sent)


def part_from(start, stop=None, *, data=DATA, headers=ETAG, content_range=None):
    """A 206 with `data[start:stop]`."""
    body = data[start:stop]
    content_range = content_range or f"bytes {start}-{start + len(body) - 1}/{len(data)}"
    return answer(body, "206 Partial Content", f"Connection: close\r\nContent-Range: {content_range}\r\n{headers}")


def _answering(connection, _server):
    read_request(connection)
    connection.sendall(answer(DATA))


def get(server, tmp_path, **more):
    limits = {"max_bytes": 10_000_000, "within": Deadlines(10, 10, 60), **more}
    part = tmp_path / "a.part"
    with guarded_session(Reach(private=frozenset({"127.0.0.1"}))) as session:
        fetched = fetch(server.url + "/v.mp4", part, session=session, **limits)
    data = part.read_bytes()
    assert (fetched.size_bytes, fetched.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    return data


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        (ETAG, '"v1"'),
        ("Last-Modified: Tue, 01 Sep 2026 10:00:00 GMT\r\n", "Tue, 01 Sep 2026 10:00:00 GMT"),
        ('ETag: W/"v1"\r\nLast-Modified: Tue, 01 Sep 2026 10:00:00 GMT\r\n', "Tue, 01 Sep 2026 10:00:00 GMT"),
        (ETAG + "Last-Modified: Tue, 01 Sep 2026 10:00:00 GMT\r\n", '"v1"'),
    ],
)
def test_broken_transfer_is_taken_up_where_it_broke_off(tmp_path, headers, version):
    with Server(lambda start: part_from(start, headers=headers), headers) as server:
        assert get(server, tmp_path) == DATA
    assert server.asked == [(None, None), (f"bytes={FIRST}-", version)]


def test_transfer_that_falls_silent_is_taken_up(tmp_path):
    def silent(connection, server):
        connection.sendall(part_from(FIRST)[:-1000])
        server.stopping.wait(10)

    with Server(lambda start: silent if start == FIRST else part_from(start)) as server:
        assert get(server, tmp_path, within=Deadlines(10, 2, 60)) == DATA
    assert server.asked[2] == (f"bytes={len(DATA) - 1000}-", '"v1"')


def test_parts_that_are_shorter_than_asked_for_are_joined(tmp_path):
    with Server(lambda start: part_from(start, start + 200_000)) as server:
        assert get(server, tmp_path) == DATA
    assert len(server.asked) == 5


def test_other_version_is_begun_anew(tmp_path):
    with Server(lambda _start: answer(OTHER, headers='ETag: "v2"\r\n')) as server:
        assert get(server, tmp_path) == OTHER
    assert len(server.asked) == 2


def test_shorter_version_leaves_nothing_of_the_longer(tmp_path):
    with Server(lambda _start: answer(OTHER[:1000])) as server:
        assert get(server, tmp_path) == OTHER[:1000]


UNFIT = {
    "416": answer(b"", "416 Range Not Satisfiable", f"Content-Range: bytes */{len(DATA)}\r\n"),
    "another start": part_from(FIRST - 1),
    "no range": answer(DATA[FIRST:], "206 Partial Content", ETAG),
    "unreadable range": part_from(FIRST, content_range="bytes x"),
    "range that ends before it starts": part_from(FIRST, content_range=f"bytes {FIRST}-{FIRST - 1}/{len(DATA)}"),
    "another size": part_from(FIRST, content_range=f"bytes {FIRST}-{len(DATA)}/{len(DATA) + 1}"),
    "another version": part_from(FIRST, data=OTHER, headers='ETag: "v2"\r\n'),
    "encoded": part_from(FIRST, headers=ETAG + "Content-Encoding: gzip\r\n"),
    "several ranges": answer(b"--x", "206 Partial Content", "Content-Type: multipart/byteranges; boundary=x\r\n"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_part_that_does_not_fit_is_thrown_away_with_what_came_before(tmp_path, what):
    with Server(lambda start: answer(OTHER) if start is None else UNFIT[what]) as server:
        assert get(server, tmp_path) == OTHER
    assert [asked for asked, _ in server.asked] == [None, f"bytes={FIRST}-", None]


@pytest.mark.parametrize(
    "headers",
    ["", 'ETag: W/"v1"\r\n', "ETag: v1\r\n", ETAG + "Accept-Ranges: none\r\n"],
    ids=["no version", "weak", "no valid version", "no ranges"],
)
def test_what_can_not_be_taken_up_is_interrupted(tmp_path, headers):
    with Server(part_from, headers) as server, pytest.raises(FetchInterrupted):
        get(server, tmp_path)
    assert server.accepted == 1
    assert list(tmp_path.iterdir()) == []


def test_encoded_transfer_is_not_taken_up(tmp_path):
    encoded = answer(gzip.compress(DATA, 0), headers=ETAG + "Content-Encoding: gzip\r\n")
    with Server(part_from, first=encoded[:-FIRST]) as server, pytest.raises(FetchInterrupted):
        get(server, tmp_path)
    assert server.accepted == 1


def test_number_of_resumes_is_bounded(tmp_path):
    with Server(lambda start: part_from(start, start + 10)) as server, pytest.raises(FetchInterrupted):
        get(server, tmp_path)
    assert server.accepted == 1 + MAX_RESUMES
    assert list(tmp_path.iterdir()) == []


def test_number_of_beginnings_is_bounded(tmp_path):
    def later(start):
        return UNFIT["416"] if start else answer(DATA, headers=ETAG)[: FIRST - len(DATA)]

    with Server(later) as server, pytest.raises(FetchInterrupted):
        get(server, tmp_path)
    assert server.accepted == 1 + MAX_RESUMES


def test_resume_that_brings_nothing_is_the_last(tmp_path):
    with Server(lambda start: part_from(start)[: start - len(DATA)]) as server, pytest.raises(FetchInterrupted):
        get(server, tmp_path)
    assert server.accepted == 2


def test_size_cap_holds_over_all_parts(tmp_path):
    def endless(connection, server):
        head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {FIRST}-{FIRST + 10}/*\r\n{ETAG}\r\n"
        connection.sendall(head.encode())
        while not server.stopping.is_set():
            connection.sendall(b"x" * 65536)

    first = f"HTTP/1.1 200 OK\r\n{ETAG}Transfer-Encoding: chunked\r\n\r\n{FIRST:x}\r\n".encode() + DATA[:FIRST]
    with Server(lambda _start: endless, first=first) as server, pytest.raises(FetchRefused, match="500000 bytes"):
        get(server, tmp_path, max_bytes=500_000)
    assert server.accepted == 2
    assert list(tmp_path.iterdir()) == []


def test_rest_that_is_declared_too_big_is_refused_before_it_comes(tmp_path):
    def silent(connection, server):
        head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {FIRST}-99999999/*\r\n{ETAG}\r\n"
        connection.sendall(head.encode())
        server.stopping.wait(10)

    first = f"HTTP/1.1 200 OK\r\n{ETAG}Transfer-Encoding: chunked\r\n\r\n{FIRST:x}\r\n".encode() + DATA[:FIRST]
    with Server(lambda _start: silent, first=first) as server, pytest.raises(FetchRefused, match="500000 bytes"):
        get(server, tmp_path, max_bytes=500_000)


def test_deadline_holds_over_all_parts(tmp_path):
    def dripping(connection, server):
        drip(connection, server, part_from(FIRST))

    with Server(lambda _start: dripping) as server, pytest.raises(FetchInterrupted, match="Timeout"):
        get(server, tmp_path, within=Deadlines(10, 10, 3))
    assert server.accepted == 2


def test_nothing_is_connected_to_past_the_deadline(tmp_path):
    with RawServer(_answering) as server, pytest.raises(FetchInterrupted, match=r"^TimeoutError$"):
        get(server, tmp_path, within=Deadlines(10, 10, 1e-9))
    assert server.accepted == 0


def test_url_that_expired_meanwhile_is_expired(tmp_path):
    with Server(lambda _start: answer(b"", "403 Forbidden")) as server, pytest.raises(FetchExpired):
        get(server, tmp_path)


def test_file_for_which_there_is_no_room_is_not_begun(tmp_path):
    asked = []

    def has_room(more_bytes):
        asked.append(more_bytes)
        return False

    with RawServer(_answering) as server, pytest.raises(NoRoom):
        get(server, tmp_path, has_room=has_room)
    assert asked == [len(DATA)]
    assert list(tmp_path.iterdir()) == []


def test_file_that_would_fill_the_disk_is_stopped_and_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "ROOM_EVERY_BYTES", 100_000)
    part, seen = tmp_path / "a.part", []

    def has_room(_more_bytes):
        seen.append(part.stat().st_size)
        return len(seen) < 4

    def handle(connection, server):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.stopping.is_set():
            connection.sendall(b"x" * 65536)

    with RawServer(handle) as server, pytest.raises(NoRoom, match="low-water mark"):
        get(server, tmp_path, has_room=has_room)
    assert len(seen) == 4
    assert list(tmp_path.iterdir()) == []
