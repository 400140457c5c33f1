"""How addresses of Redis and PostgreSQL speak TLS: certificates are verified, and an address that would not is refused.

The address says everything, in the parameters of redis-py and of libpq, so that a producer, the pools and Flower take
the same one. The form of one with sentinels is the producer's (`schemas.redisaddress`).
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from schemas.redisaddress import AddressInvalid, sentinels_of

_REDIS_TLS: Final = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")

TLS_PARAMETERS: Final = (*_REDIS_TLS, "sslmode", "sslrootcert", "sslcert", "sslkey")
"""Parameters of an address that say how TLS is spoken, and hold no secret."""


def verified(url: str) -> str:
    """A `rediss://` address that says aloud what redis-py does unasked: kombu and Celery have to be told to verify."""
    if not url.startswith("rediss://"):
        return url
    parts = urlsplit(url)
    if "ssl_cert_reqs" in dict(parse_qsl(parts.query)):
        return url
    query = f"{parts.query}&ssl_cert_reqs=required" if parts.query else "ssl_cert_reqs=required"
    return parts._replace(query=query).geturl()


def redis_problem(url: str) -> str | None:
    """What is wrong with an address of Redis, in a sentence that does not show it."""
    try:
        if sentinels_of(url) is not None:
            return None
    except AddressInvalid as error:
        return error.problem
    if not url.startswith(("redis://", "rediss://")):  # Celery has no transport for unix://
        return "must be a URL that begins with redis:// or rediss://, or with sentinel:// or sentinels://"
    parts = urlsplit(url)
    given = {name: value for name, value in parse_qsl(parts.query) if name.startswith("ssl_")}
    if parts.scheme != "rediss":
        return "has parameters of TLS (ssl_...), which count for rediss:// alone" if given else None
    if unknown := sorted(set(given) - set(_REDIS_TLS)):
        return f"has unknown parameters: {', '.join(unknown)}; known are {', '.join(_REDIS_TLS)}"
    if (
        given.get("ssl_cert_reqs", "required") != "required"
        or given.get("ssl_check_hostname", "true").lower() != "true"
    ):
        return "must not turn verification off; for a certificate of your own, name its authority with ssl_ca_certs"
    return None


def is_open(url: str) -> bool:
    """Whether an address lets others read along, or answer in the server's place: over a network, unverified."""
    sentinels = sentinels_of(url)
    if sentinels is not None:
        return sentinels.tls is None and not all(is_loopback(host) for host, _ in sentinels.hosts)
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    host = parts.hostname or query.get("host", "")
    if not host or host.startswith("/") or is_loopback(host) or parts.scheme == "rediss":
        return False
    return query.get("sslmode") != "verify-full"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, and can be reached from nowhere else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
