"""Opens addresses that others choose: those of outputs, and of callers who want to be told. Refuses every place that is
not public, however it is spelled.

The IP filter is that of `requests-hardened`: a name is resolved once, and what was checked is what is connected to.
This module adds which ports and hosts may be reached, addresses that the filter lets pass, and deadlines.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter

from schemas.errors import Problem
from schemas.urls import url_problem
from tasks.transport import DeadlineAdapter, session_of

_PORTS: Final = {"http": 80, "https": 443}
# What answers there is the cloud's own, for the machine that asks: public only by its number.
_METADATA: Final = frozenset({ipaddress.ip_address("168.63.129.16")})


@dataclass(frozen=True, slots=True)
class Reach:
    """Which addresses may be opened: https, on `ports`, at `hosts` and what is below them (none given: any), if public.

    `private`: places (`host` or `host:port`, spelled as in the URL) that may be reached all the same, by http as well
    and on any port that is not named. It is for development: whoever chooses the address can then reach them.
    """

    hosts: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset({443})
    private: frozenset[str] = frozenset()

    def is_private(self, host: str, port: int) -> bool:
        """Whether this place is one of those that may be reached although private."""
        name = f"[{host}]" if ":" in host else host
        return not self.private.isdisjoint({name, f"{name}:{port}"})

    def problem(self, scheme: str, host: str, port: int) -> str | None:
        """Why a place that is none of `private` may not be opened, as far as its spelling tells; else `None`."""
        if scheme != "https":
            return "the address is not https"
        if port not in self.ports:
            return "the address has a port that is not allowed"
        name = host.removesuffix(".")
        if self.hosts and not any(name == allowed or name.endswith(f".{allowed}") for allowed in self.hosts):
            return "the address is on a host that is not allowed"
        return None

    def refusal(self, url: str) -> Problem | None:
        """Why a well-formed URL may not be opened, as far as its text tells; where its name leads is seen later."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        if self.is_private(host, port):
            return None
        why = self.problem(parts.scheme, host, port)
        return url_problem(url) if why is None else Problem("", "url_not_allowed", why)


PUBLIC: Final = Reach()


class AddressRefused(requests.RequestException):
    """The address may not be opened; says why without naming it. Trying again gives the same."""


def guarded_session(reach: Reach) -> requests.Session:
    """A session whose requests are each checked, those after a redirect like the first.

    A connection that is kept is used again only for what may be opened and resolves to its very address. Raises
    `AddressRefused` instead of connecting.
    """
    return session_of(https=_GuardedAdapter(reach, is_https=True), http=_GuardedAdapter(reach, is_https=False))


class _GuardedAdapter(IPFilterAdapter, DeadlineAdapter):
    """Judges what will be connected to, as parsed by those who connect: a second parser could read it otherwise."""

    def __init__(self, reach: Reach, *, is_https: bool) -> None:
        self._reach = reach
        super().__init__(is_https_proto=is_https)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        if "@" in urlsplit(request.url or "").netloc:
            raise AddressRefused("the address names a user")
        place, options = HTTPAdapter.build_connection_pool_key_attributes(self, request, verify, cert)
        scheme, host, named_port = place["scheme"], place["host"] or "", cast(int | None, place["port"])
        port = _PORTS[scheme] if named_port is None else named_port
        if self._reach.is_private(host, port):
            return place, options
        problem = self._reach.problem(scheme, host, port)
        if problem is not None:
            raise AddressRefused(problem)
        try:
            pinned, options = super().build_connection_pool_key_attributes(request, verify, cert)
        except InvalidIPAddress:
            raise AddressRefused("the address is not public") from None
        if not _is_public(pinned["host"].strip("[]")):
            raise AddressRefused("the address is not public")
        return pinned, options


def _is_public(address: str) -> bool:
    """Stricter than the filter: site-local, reserved and IPv4-compatible addresses pass it."""
    ip = ipaddress.ip_address(address)
    site_local = isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or site_local or ip in _METADATA)
