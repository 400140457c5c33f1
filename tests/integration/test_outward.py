"""Addresses that others choose: every spelling of a place that is not public, and what may be reached all the same."""

import logging
import socket
import ssl
from pathlib import Path

import pytest
import requests
import tornado

from tasks.media.errors import FetchInterrupted, FetchRefused
from tasks.media.fetch import fetch
from tasks.outward import PUBLIC, AddressRefused, Reach, guarded_session
from tasks.transport import Deadlines
from tests.support.raw import RawServer, answer, drip, read_request

# A guard that fails must not let these tests out of this machine.
pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

PRIVATE = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "0", "0.0.0.0"),
    *("10.1.2.3", "172.16.0.1", "192.168.1.1", "198.18.0.1", "240.0.0.1", "255.255.255.255"),
    *("100.64.0.1", "224.0.0.1", "239.255.255.250", "192.88.99.1"),
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "100.100.100.200", "192.0.0.192"),
    "168.63.129.16",
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[0:0:0:0:0:ffff:a9fe:a9fe]"),
    *("[fe80::1]", "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]"),
    *("[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2001::1]", "[4000::1]"),
]


@pytest.fixture
def names(monkeypatch):
    """Names that resolve, each with its address; nothing else does."""
    real, known = socket.getaddrinfo, {}

    def resolve(host, port, family=0, type=0):  # noqa: A002 (its name in the standard library)
        return real(known.get(host, host), port, family, type, flags=socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


def refusal(url, reach=PUBLIC):
    with guarded_session(reach) as session, pytest.raises(AddressRefused) as caught:
        session.get(url, timeout=1)
    return str(caught.value)


@pytest.mark.parametrize("host", PRIVATE)
def test_address_that_is_not_public_is_refused_however_it_is_spelled(names, host):
    assert refusal(f"https://{host}/") == "the address is not public"


@pytest.mark.parametrize(
    "host", ["１２７.0.0.1", "127。0。0。1", "①②⑦.⓪.⓪.①", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "127.0.0.1.", "127.0.0.1%00"]
)
def test_what_only_looks_like_such_an_address_leads_nowhere_either(names, host):
    names |= {"localhost": "127.0.0.1", "127.0.0.1.": "127.0.0.1"}
    with guarded_session(PUBLIC) as session, pytest.raises((AddressRefused, requests.exceptions.InvalidURL)):
        session.get(f"https://{host}/", timeout=1)


@pytest.mark.parametrize("host", ["internal.example", "INTERNAL.example", "internal.example."])
@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1", "fec0::1"])
def test_name_that_resolves_to_such_an_address_is_refused(names, host, address):
    names |= {"internal.example": address, "internal.example.": address}
    assert refusal(f"https://{host}/") == "the address is not public"


@pytest.mark.parametrize(
    "url",
    [
        "https://user:password@files.example/",
        "https://user@files.example/",
        "https://files.example@127.0.0.1/",
        "https://files.example:443@127.0.0.1/",
        "https://files.example%2f@127.0.0.1/",
    ],
)
def test_address_that_names_a_user_is_refused(names, url):
    names["files.example"] = "93.184.215.14"
    assert refusal(url) == "the address names a user"


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1\\@files.example/", "https://127.0.0.1#@files.example/", "https://127.0.0.1?@files.example/"],
)
def test_what_looks_like_a_user_hides_no_private_host(names, url):
    names["files.example"] = "93.184.215.14"
    assert refusal(url) in {"the address is not public", "the address names a user"}


def test_http_is_refused(names):
    assert refusal("http://93.184.215.14/") == "the address is not https"


@pytest.mark.parametrize("port", [1, 22, 80, 8443, 6379])
def test_other_ports_are_refused(names, port):
    assert refusal(f"https://93.184.215.14:{port}/") == "the address has a port that is not allowed"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("cdn.example", True),
        ("a.b.cdn.example", True),
        ("cdn.example.", True),
        ("evilcdn.example", False),
        ("cdn.example.evil.example", False),
        ("example", False),
    ],
)
def test_only_named_hosts_and_those_below_are_reached(host, allowed):
    assert (Reach(hosts=frozenset({"cdn.example"})).problem("https", host, 443) is None) is allowed


def test_hosts_that_are_not_named_are_not_even_resolved(names):
    reach = Reach(hosts=frozenset({"cdn.example"}))
    assert refusal("https://no-such-name.example/", reach) == "the address is on a host that is not allowed"


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://127.0.0.1:8900/", "127.0.0.1:8901"),
        ("http://127.0.0.1:89/", "127.0.0.1:8900"),
        ("http://127.1:8900/", "127.0.0.1:8900"),
        ("http://[::1]:8900/", "[::1]:8901"),
        ("https://127.0.0.1/", "127.0.0.1:80"),
    ],
)
def test_private_place_is_reached_only_as_it_was_allowed(names, url, private):
    assert refusal(url, Reach(private=frozenset({private})))


@pytest.mark.parametrize(
    ("host", "port", "private"),
    [
        ("127.0.0.1", 8900, "127.0.0.1:8900"),
        ("127.0.0.1", 1, "127.0.0.1"),
        ("::1", 8900, "[::1]:8900"),
        ("::1", 8900, "[::1]"),
        ("simulator", 8900, "simulator:8900"),
    ],
)
def test_private_place_that_was_allowed_is_reached(host, port, private):
    assert Reach(private=frozenset({private})).is_private(host, port)


def test_refusal_and_its_log_do_not_carry_the_query(names, caplog):
    caplog.set_level(logging.DEBUG)
    with guarded_session(PUBLIC) as session, pytest.raises(AddressRefused) as caught:
        session.get("https://127.0.0.1/v.mp4", params={"Signature": "canary"}, timeout=1)
    assert "canary" not in repr(caught.value) + repr(caught.value.__context__) + caplog.text


def test_name_that_does_not_resolve_is_not_refused_for_good(names):
    with guarded_session(PUBLIC) as session, pytest.raises(requests.ConnectionError):
        session.get("https://no-such-name.example/", timeout=1)


CERTIFICATE = Path(tornado.__file__).parent / "test" / "test.crt"  # of foo.example.com, as tornado ships it


def _over_tls(handle):
    """A server that speaks TLS with that certificate; handshakes that fail are its clients' affair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))

    def handle_encrypted(connection, server):
        with context.wrap_socket(connection, server_side=True) as encrypted:
            handle(encrypted, server)

    return RawServer(handle_encrypted)


@pytest.fixture
def internet(monkeypatch):
    """`internet(name, *places)`: a name whose every look-up gives the next place, the last one for ever.

    A place is a server of ours, reached at a public address of its own, or an address as it is.
    """
    real, answers, asked, routes = socket.getaddrinfo, {}, [], {}

    def resolve(host, port, family=0, type=0):  # noqa: A002 (its name in the standard library)
        if host in routes:
            return real("127.0.0.1", routes[host], family, type)
        if host in answers:
            asked.append(host)
            host = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        return real(host, port, family, type, flags=socket.AI_NUMERICHOST)

    def name(host, *places):
        answers[host] = []
        for place in places:
            if isinstance(place, RawServer):
                address = f"93.184.215.{len(routes) + 1}"
                routes[address] = int(place.url.rpartition(":")[2])
                answers[host].append(address)
            else:
                answers[host].append(place)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(CERTIFICATE))
    name.asked = asked
    return name


def _fetch(url, part, reach=PUBLIC, total_timeout_s=60.0):
    with guarded_session(reach) as session:
        return fetch(url, part, session=session, max_bytes=1_000_000, within=Deadlines(10, 10, total_timeout_s))


def _serving(connection, _server):
    read_request(connection)
    connection.sendall(answer(b"a film"))


def test_name_that_leads_elsewhere_the_second_time_is_opened_where_it_was_checked(tmp_path, internet):
    with _over_tls(_serving) as checked, _over_tls(_serving) as trap:
        internet("foo.example.com", checked, trap)
        assert _fetch("https://foo.example.com/v.mp4", tmp_path / "a.part").size_bytes == len(b"a film")
        assert (checked.accepted, trap.accepted) == (1, 0)
    assert internet.asked == ["foo.example.com"]


def test_certificate_has_to_be_that_of_the_name_and_not_of_the_address(tmp_path, internet):
    with _over_tls(_serving) as server:
        internet("bar.example.com", server)
        with pytest.raises(FetchInterrupted, match="SSLError"):
            _fetch("https://bar.example.com/v.mp4", tmp_path / "a.part")
        assert server.accepted == 1


def test_every_redirect_is_resolved_and_checked_anew(tmp_path, internet):
    def handle(connection, _server):
        read_request(connection)
        connection.sendall(answer(b"", "302 Found", "Location: /again\r\n"))

    with _over_tls(handle) as server:
        internet("foo.example.com", server, "10.0.0.1")
        with pytest.raises(FetchRefused, match="not public"):
            _fetch("https://foo.example.com/v.mp4", tmp_path / "a.part")
        assert server.accepted == 1


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("https://169.254.169.254/latest/meta-data/", "not public"),
        ("https://[::ffff:169.254.169.254]/", "not public"),
        ("https://foo.example.com:6379/", "port"),
        ("https://user:password@foo.example.com/", "names a user"),
        ("//10.0.0.1/", "not public"),
        ("http://foo.example.com/", "leaves https"),
        ("HTTP://127.0.0.1:1/", "leaves https"),
    ],
)
def test_redirect_to_what_may_not_be_opened_is_refused(tmp_path, internet, target, reason):
    def handle(connection, _server):
        read_request(connection)
        connection.sendall(answer(b"", "302 Found", f"Location: {target}\r\n"))

    with _over_tls(handle) as server:
        internet("foo.example.com", server)
        with pytest.raises(FetchRefused, match=reason):
            _fetch("https://foo.example.com/v.mp4", tmp_path / "a.part", Reach(private=frozenset({"127.0.0.1:1"})))
        assert server.accepted == 1
    assert list(tmp_path.iterdir()) == []


def _serving_on(connection, server):
    while read_request(connection) is not None:
        server.requests += 1
        connection.sendall(answer(b"a film"))


def test_kept_connection_is_used_again_and_only_for_the_address_that_was_checked(tmp_path, internet):
    with _over_tls(_serving_on) as first, _over_tls(_serving_on) as second, guarded_session(PUBLIC) as session:

        def get():
            limits = {"max_bytes": 1_000_000, "within": Deadlines(10, 10, 60)}
            fetch("https://foo.example.com/v.mp4", tmp_path / "a.part", session=session, **limits)

        internet("foo.example.com", first)
        get()
        get()
        assert (first.accepted, first.requests) == (1, 2)
        internet("foo.example.com", second)
        get()
        assert (first.requests, second.requests) == (2, 1)
        internet("foo.example.com", "10.0.0.1")
        with pytest.raises(FetchRefused, match="not public"):
            get()


def test_kept_connection_that_the_other_side_has_closed_is_not_used(tmp_path):
    def handle(connection, server):
        read_request(connection)
        connection.sendall(answer(b"a film"))
        connection.shutdown(socket.SHUT_RDWR)

    with RawServer(handle) as server, guarded_session(Reach(private=frozenset({"127.0.0.1"}))) as session:
        for _ in range(3):
            fetch(f"{server.url}/", tmp_path / "a.part", session=session, max_bytes=100, within=Deadlines(10, 10, 60))
            server.all_closed()
        assert server.accepted == 3


def test_private_place_that_is_allowed_opens_no_other(tmp_path):
    with RawServer(_serving) as other:

        def handle(connection, _server):
            read_request(connection)
            connection.sendall(answer(b"", "302 Found", f"Location: {other.url}/\r\n"))

        with RawServer(handle) as server, pytest.raises(FetchRefused, match="not https"):
            _fetch(f"{server.url}/v.mp4", tmp_path / "a.part", Reach(private=frozenset({server.url[7:]})))
        assert other.accepted == 0


def test_no_credentials_and_no_cookies_go_along(tmp_path, monkeypatch):
    heads = []

    def handle(connection, _server):
        heads.append(read_request(connection)[0].lower())
        hop = "Location: /again\r\nSet-Cookie: canary=1; Path=/\r\n"
        connection.sendall(answer(b"a film") if heads[1:] else answer(b"", "302 Found", hop))

    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with RawServer(handle) as server:
        _fetch(
            f"{server.url}/v.mp4?Signature=canary-of-the-first",
            tmp_path / "a.part",
            Reach(private=frozenset({"127.0.0.1"})),
        )
    names = {line.partition(b":")[0] for head in heads for line in head.split(b"\r\n")[1:]}
    assert names == {b"host", b"accept", b"accept-encoding", b"user-agent"}
    assert b"canary" not in heads[1]


def test_encrypted_drip_ends_at_the_total_deadline(tmp_path, internet):
    def handle(connection, server):
        read_request(connection)
        drip(connection, server, answer(b"x" * 10_000))

    with _over_tls(handle) as server:
        internet("foo.example.com", server)
        with pytest.raises(FetchInterrupted):
            _fetch("https://foo.example.com/v.mp4", tmp_path / "a.part", total_timeout_s=0.5)
