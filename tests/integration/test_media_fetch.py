"""Fetching from servers that cut, drip, flood, redirect and refuse; and the whole way of a film to its final name."""

import gzip
import hashlib
import logging
import socket
import traceback

import pytest
import responses

from tasks.media.errors import FetchExpired, FetchInterrupted, FetchRefused
from tasks.media.fetch import fetch
from tasks.media.folderstore import FolderStore
from tasks.media.probe import probe
from tasks.media.sniff import extension_for
from tasks.outward import PUBLIC, Reach, guarded_session
from tasks.transport import Deadlines
from tests.support.films import film
from tests.support.raw import RawServer, answer, drip, read_request

pytestmark = pytest.mark.enable_socket

DATA = b"\0\0\0\x20ftypisom" + bytes(range(256)) * 4000
OK = "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n"


HERE = Reach(private=frozenset({"127.0.0.1"}))
UNHURRIED = Deadlines(10, 10, 60)
HURRIED = Deadlines(1, 0.5, 1)


def _fetch(url, part, *, max_bytes=10_000_000, within=UNHURRIED, **more):
    with guarded_session(HERE) as session:
        return fetch(
            url + "/v.mp4?Signature=canary",
            part,
            session=session,
            max_bytes=max_bytes,
            within=within,
            **more,
        )


def _sending(*pieces):
    def handle(connection, _server):
        read_request(connection)
        for piece in pieces:
            connection.sendall(piece)

    return handle


def _chunked(data, size):
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"


WHOLE = {
    "with its length": _sending(answer(DATA, headers="Content-Type: video/mp4\r\n")),
    "in chunks": _sending((OK + "Transfer-Encoding: chunked\r\n\r\n").encode(), _chunked(DATA, 7777)),
    "until the connection ends": _sending((OK + "\r\n").encode(), DATA),
    "compressed": _sending(
        answer(gzip.compress(DATA), headers="Content-Type: video/mp4\r\nContent-Encoding: gzip\r\n")
    ),
}


@pytest.mark.parametrize("how", WHOLE)
def test_whole_file_is_on_disk_and_described(tmp_path, how):
    part = tmp_path / "a.part"
    with RawServer(WHOLE[how]) as server:
        fetched = _fetch(server.url, part)
    assert part.read_bytes() == DATA
    assert (fetched.size_bytes, fetched.sha256) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    assert fetched.content_type == "video/mp4"


def test_size_cap_is_exact(tmp_path):
    with RawServer(_sending((OK + "\r\n").encode(), DATA)) as server:
        assert _fetch(server.url, tmp_path / "a.part", max_bytes=len(DATA)).size_bytes == len(DATA)
        with pytest.raises(FetchRefused):
            _fetch(server.url, tmp_path / "a.part", max_bytes=len(DATA) - 1)


def _endless(connection, server):
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not server.stopping.is_set():
        connection.sendall(b"x" * 65536)


def _drip_body(connection, server):
    read_request(connection)
    drip(connection, server, answer(DATA))


def _drip_headers(connection, server):
    read_request(connection)
    drip(connection, server, b"HTTP/1.1 200 OK\r\n" + b"X-Long: 1\r\n" * 500)


def _silence(connection, server):
    read_request(connection)
    server.stopping.wait(10)


def _redirect_drip(connection, server):
    read_request(connection)
    drip(connection, server, b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")


def _endless_redirect_body(connection, server):
    read_request(connection)
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n")
    while not server.stopping.is_set():
        connection.sendall(b"x" * 65536)


FAILURES = {
    "cut short of its length": (_sending(answer(DATA)[:-10]), FetchInterrupted),
    "cut between chunks": (
        _sending(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        FetchInterrupted,
    ),
    "cut amid a chunk": (_sending(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"), FetchInterrupted),
    "closed without a byte": (_sending(), FetchInterrupted),
    "empty": (_sending(answer(b"")), FetchInterrupted),
    "dripping": (_drip_body, FetchInterrupted),
    "dripping headers": (_drip_headers, FetchInterrupted),
    "dripping redirects": (_redirect_drip, FetchInterrupted),
    "silent": (_silence, FetchInterrupted),
    "endless": (_endless, FetchRefused),
    "declared too big": (_sending(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"), FetchRefused),
    "compressed bomb": (
        _sending(answer(gzip.compress(bytes(20_000_000)), headers="Content-Encoding: gzip\r\n")),
        FetchRefused,
    ),
    "web page": (_sending(answer(b"<html>Sign in</html>", headers="Content-Type: video/mp4\r\n")), FetchRefused),
    "redirect loop": (_sending(answer(b"", "302 Found", "Location: /again\r\n")), FetchRefused),
    "redirect loop with endless bodies": (_endless_redirect_body, FetchRefused),
    "redirect without a place": (_sending(answer(b"", "302 Found")), FetchRefused),
    "redirect to a file": (_sending(answer(b"", "302 Found", "Location: file:///etc/hostname\r\n")), FetchRefused),
    "redirect to nonsense": (_sending(answer(b"", "302 Found", "Location: http://[x/\r\n")), FetchRefused),
    "401": (_sending(answer(b"", "401 Unauthorized")), FetchExpired),
    "403": (_sending(answer(b"<Error/>", "403 Forbidden")), FetchExpired),
    "404": (_sending(answer(b"", "404 Not Found")), FetchExpired),
    "410": (_sending(answer(b"", "410 Gone")), FetchExpired),
    "400": (_sending(answer(b"", "400 Bad Request")), FetchRefused),
    "206": (_sending(answer(DATA, "206 Partial Content")), FetchRefused),
    "304": (_sending(answer(b"", "304 Not Modified")), FetchRefused),
    "429": (_sending(answer(b"", "429 Too Many Requests")), FetchInterrupted),
    "500": (_sending(answer(b"", "500 Oops")), FetchInterrupted),
    "503": (_sending(answer(b"", "503 Busy")), FetchInterrupted),
}


HANGING = {"dripping", "dripping headers", "dripping redirects", "silent"}
"""Those that only a time-out ends."""


@pytest.mark.parametrize("what", FAILURES)
def test_failure_has_its_family_leaves_no_file_and_names_no_address(tmp_path, caplog, what):
    caplog.set_level(logging.DEBUG)
    handle, family = FAILURES[what]
    part = tmp_path / "a.part"
    with RawServer(handle) as server, pytest.raises(family) as caught:
        _fetch(server.url, part, max_bytes=5_000_000, within=HURRIED if what in HANGING else UNHURRIED)
    assert list(tmp_path.iterdir()) == []
    told = "".join(traceback.format_exception(caught.value, chain=True)) + repr(caught.value.__context__) + caplog.text
    assert "canary" not in told


def test_refused_connection_is_interrupted_and_names_no_address(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(FetchInterrupted) as caught:
        _fetch(url, tmp_path / "a.part")
    assert caught.value.__context__ is None
    assert str(caught.value) == "ConnectionError"


def test_up_to_three_redirects_are_followed(tmp_path):
    def handle(connection, _server):
        path = read_request(connection)[0].split(b" ")[1]
        hops = {b"/v.mp4?Signature=canary": "/1", b"/1": "/2", b"/2": "/3"}
        if path in hops:
            connection.sendall(answer(b"", "302 Found", f"Location: {hops[path]}\r\n"))
        else:
            connection.sendall(answer(DATA))

    with RawServer(handle) as server:
        assert _fetch(server.url, tmp_path / "a.part").size_bytes == len(DATA)
    assert server.accepted == 4


@pytest.mark.parametrize(
    "url", ["ftp://x.example/a", "file:///etc/hostname", "no address", "http://", "http://[x/", ""]
)
def test_address_that_is_not_http_is_refused(tmp_path, url):
    with guarded_session(PUBLIC) as session, pytest.raises(FetchRefused):
        fetch(url, tmp_path / "a.part", session=session, max_bytes=1, within=UNHURRIED)


def test_a_redirect_does_not_leave_https(tmp_path):
    # Before anything is asked for: the address after the redirect is judged like the first one.
    with responses.RequestsMock() as mock:
        mock.get("https://files.example/a", status=302, headers={"Location": "http://files.example/a"})
        with guarded_session(PUBLIC) as session, pytest.raises(FetchRefused, match="leaves https"):
            fetch("https://files.example/a", tmp_path / "a.part", session=session, max_bytes=1, within=UNHURRIED)


def test_error_of_the_local_disk_is_not_the_servers(tmp_path):
    with RawServer(_sending(answer(DATA))) as server, pytest.raises(FileNotFoundError):
        _fetch(server.url, tmp_path / "missing" / "a.part")


def test_header_that_urllib3_cannot_parse_is_not_logged_with_the_address(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with RawServer(_sending(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nbroken header\r\nA: b\r\n\r\nabc")) as server:
        fetched = _fetch(server.url, tmp_path / "a.part")
    assert fetched.size_bytes == 3
    assert "canary" not in caplog.text


def test_film_goes_from_the_server_to_its_final_name(tmp_path):
    data = film(tmp_path / "made.mp4", 64, 48, 1.0).read_bytes()
    store = FolderStore(tmp_path / "store")
    path = "default/0b9c2d1e-1111-4222-8333-444455556666/0.mp4"
    part = store.part(path)
    with RawServer(_sending(answer(data, headers="Content-Type: application/octet-stream\r\n"))) as server:
        fetched = _fetch(server.url, part)
    with part.open("rb") as file:
        assert extension_for("video", fetched.content_type, file.read(64)) == "mp4"
    assert probe(part, "video").width == 64
    store.commit(part, path)
    with store.open(path) as file:
        assert hashlib.sha256(file.read()).hexdigest() == fetched.sha256
