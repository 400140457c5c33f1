"""Webhooks: which changes a job's caller is told, when a message that did not arrive is sent again, and when no more.

At least once, in no order that a receiver could count on: each message names its event, and shows the job as it stands
when it is sent. Pure; refuses clocks and I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from schemas.jobs import State

TOLD: Final = frozenset({State.GENERATING, State.COMPLETED, State.FAILED, State.CANCELLED})
"""States whose beginning is an event for the caller. The others are ours: nothing about them is for a caller to do."""

_GONE: Final = 410
_TOO_MANY: Final = 429
_STEPS_MOST: Final = 30


@dataclass(frozen=True, slots=True)
class WebhookPolicy:
    """How webhooks are sent. Durations in seconds."""

    first_s: float = 5.0
    """Before the second try; tripled for each further one."""
    longest_s: float = 3600.0
    """The longest between two tries."""
    give_up_s: float = 86_400.0
    """A message that has not arrived for so long is dead: listed, and sent again when a person says so."""
    jitter: float = 0.2
    """Share of each delay by which tries are spread, so that a receiver that comes back is not overrun."""
    failures_most: int = 5
    """Failures in a row after which a receiver is left alone, and then tried with one message at a time."""
    pause_s: float = 30.0
    """For how long it is left alone at first; doubled each time, up to `longest_s`."""
    slots: int = 16
    """Messages of a process that are on their way at the same time."""
    slots_per_receiver: int = 4
    """Of these, for one tenant's receiver: a slow one must not hold up the others."""
    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 15.0

    @property
    def lease_s(self) -> float:
        """After so long a message that was being sent is taken for lost with its process, and sent again."""
        return 2 * (self.connect_s + self.total_s)


def receiver_of(tenant: str, url: str) -> str:
    """What fails as one: a tenant's messages to one server. Paths are left out, which may differ for each job."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{tenant} {parts.scheme}://{parts.hostname}:{port}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a try. `status`: of the answer, `None` without one. `reason`: for people, without the address.

    `refused`: the address may not be opened at all; trying again gives the same. `retry_after_s`: as the receiver asks.
    """

    status: int | None
    reason: str
    retry_after_s: float | None = None
    refused: bool = False

    @property
    def arrived(self) -> bool:
        """The receiver has taken it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_away(self) -> bool:
        """The receiver does not answer, or can't: others would fare no better. Else it is about this message."""
        return not self.refused and (self.status is None or self.status >= 500 or self.status == _TOO_MANY)


@dataclass(frozen=True, slots=True)
class Arrived:
    """It was taken."""


@dataclass(frozen=True, slots=True)
class Again:
    """It is tried again so many seconds later."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Dead:
    """It is not tried again by itself. `gone`: the receiver wants nothing at this address any more."""

    gone: bool = False


Decision = Arrived | Again | Dead


def decide(policy: WebhookPolicy, reply: Reply, *, tries: int, age_s: float, spread: float) -> Decision:
    """What follows a try. `tries`: with this one. `age_s`: since it was first to be sent. `spread`: 0 to 1, random."""
    if reply.arrived:
        return Arrived()
    if reply.status == _GONE:
        return Dead(gone=True)
    if reply.refused:
        return Dead()
    after_s = min(policy.first_s * 3.0 ** min(tries - 1, _STEPS_MOST), policy.longest_s)
    after_s = max(after_s * (1 + policy.jitter * (2 * spread - 1)), reply.retry_after_s or 0)
    # The last try is the first one after the time is over: who comes back just before it is still reached.
    return Dead() if age_s >= policy.give_up_s else Again(min(after_s, max(policy.give_up_s - age_s, policy.first_s)))


def pause_s(policy: WebhookPolicy, failures: int) -> float:
    """For how long a receiver is left alone after so many failures in a row; 0: not at all."""
    beyond = failures - policy.failures_most
    return 0.0 if beyond < 0 else min(policy.pause_s * 2.0 ** min(beyond, _STEPS_MOST), policy.longest_s)
