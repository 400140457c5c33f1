"""Which URLs a request may carry: http(s), and public where it is the provider that opens them.

Owns the judgement by the text alone; refuses to look up names, so a public name with a private address passes here.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from .errors import Problem

MAX_CHARS: Final = 2048

_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]")
_HOST_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NOT_PUBLIC: Final = (".localhost", ".localdomain", ".local", ".internal", ".home.arpa")
_HOLD_AN_IPV4_ADDRESS: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
_SHOWN_CHARS: Final = 60


def url_problem(url: str, *, public: bool = True) -> Problem | None:
    """What is wrong with a URL, or `None`. The message shows the host at most: paths and queries may hold secrets.

    Not `public`: it is not the provider that opens it, and whoever does judges where it leads.
    """
    if len(url) > MAX_CHARS:
        return Problem("", "url_too_long", f"a URL has at most {MAX_CHARS} characters, this one has {len(url)}")
    if _FORBIDDEN.search(url):
        return Problem("", "url_malformed", "a URL holds no white space, control characters or backslashes")
    try:
        url.encode()
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its text can quote the URL
        return Problem("", "url_malformed", "this is not a well-formed URL")
    if parts.scheme not in {"http", "https"}:
        return Problem("", "url_scheme", "only http and https URLs can be opened")
    if not host:
        return Problem("", "url_no_host", "the URL names no host; write https://HOST/...")
    if "@" in parts.netloc:
        return Problem("", "url_userinfo", "a URL with a user name or password is not accepted; leave them out")
    return _host_problem(host, public)


def _host_problem(host: str, must_be_public: bool) -> Problem | None:
    name = host.lower().removesuffix(".")
    address = _address(name)
    if address is not None:
        # `is_global` alone lets multicast through.
        reached = _reached(address)
        public = reached.is_global and not reached.is_multicast
    else:
        public = "." in name and not name.endswith(_NOT_PUBLIC)
        if public and not _HOST_NAME.fullmatch(name):
            # Also the other spellings of an IPv4 address (`127.1`, `0x7f.0.0.1`): no public name ends in a number.
            return Problem("", "url_host", f"{_shown(host)} is not a host name (write an international one as xn--…)")
    if public or not must_be_public:
        return None
    return Problem(
        "",
        "url_not_public",
        f"the host {_shown(host)} is not public: only public addresses are opened; give one that is",
    )


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = name.partition("%")[0]
    if ":" not in text and not text[-1:].isdigit():
        return None  # which all but a few are: no need to have it tried as either kind of address
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _reached(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Where packets end: of an IPv4 address in an IPv6 form (mapped, NAT64, 6to4, compatible) at that address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in _HOLD_AN_IPV4_ADDRESS):
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address


def _shown(host: str) -> str:
    return ascii(host if len(host) <= _SHOWN_CHARS else f"{host[:_SHOWN_CHARS]}...")
