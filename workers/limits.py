"""Limits of what speaks HTTP, with their defaults: each field is a setting of that name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Deadlines of calls to the provider and of downloads, in seconds."""

    connect_s: float = 5.0
    create_read_s: float = 60.0
    create_total_s: float = 90.0
    poll_read_s: float = 6.0
    poll_total_s: float = 8.0
    download_read_s: float = 30.0
    download_total_s: float = 900.0


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """What the gateway allows, and what it runs with."""

    body_max_bytes: int = 60_000_000
    """Two pictures of 20 MB as data URLs, and what stands beside them."""
    wait_most_s: float = 60.0
    """The longest that a caller is waited for who asks for it (`Prefer: wait=N`)."""
    waits_most: int = 16
    """Callers of a process at a time for whom a thread waits, or whom one tells what happens."""
    batch_most: int = 100
    link_ttl_s: int = 7 * 86_400
    """For how long a link to an output opens it."""
    requests_per_minute: float = 1200.0
    """Of a tenant, where none of its own are set (`python -m workers tenants set`)."""
    processes: int = 2
    threads: int = 32
