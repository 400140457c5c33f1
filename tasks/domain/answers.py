"""What the provider can have told us, as values: the outcomes of a create, the answers to a poll, and what is kept.

Owns the distinction on which money hangs: a create that is *provably unsent* or *definitely answered* is told apart
from one whose outcome is *unknown*. Refuses to know HTTP or JSON: `tasks.vtrix` makes these values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """What the provider said about cost. `cost_usd` is `None` when absent or unreadable; `raw` is kept as it came."""

    cost_usd: Decimal | None = None
    discount: Decimal | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoteOutput:
    """One content of one output as the provider names it. `url` is signed: never logged, never shown."""

    type: str
    url: str = field(repr=False)
    duration_s: float | None = None


# --- create ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has a task: we pay for it, whatever comes."""

    provider_task_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A definite no: nothing was created and the same request will be refused again. Fail the job."""

    code: str
    message: str
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRefused:
    """A definite no to the key, not to the job (401, 403, no balance). Pause the key, queue the job."""

    code: str
    message: str
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """429: nothing was created. Try again after `retry_after_s`, or after a time of our own when it is `None`."""

    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Unsent:
    """No byte of the request left this machine: name not resolved, connection refused, connect time-out. Try again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A task may or may not exist, and no id is known. Park the job; never create it again unasked."""

    reason: str
    http_status: int | None = None


CreateOutcome = Accepted | Rejected | KeyRefused | Throttled | Unsent | Unknown


# --- poll -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Running:
    """Still in progress. `status_known` is false when the provider used a word we do not know: an alarm is due."""

    progress: float | None = None
    status_known: bool = True


@dataclass(frozen=True, slots=True)
class Completed:
    """The provider's final answer: what there is to fetch, what it cost, and its metadata as it came.

    `took_s`: how long the task took by the provider's own clock, if it said so.
    """

    outputs: tuple[RemoteOutput, ...]
    usage: Usage = field(default_factory=Usage)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    took_s: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The provider's final no: its code and sentence. `usage` is kept: a failure may still have been charged."""

    code: str
    message: str
    usage: Usage = field(default_factory=Usage)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotFound:
    """404: the provider does not know the task, or not yet, or not any more."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """This look said nothing about the task (transport, 5xx, 429, 401, unreadable): look again, never fail the job."""

    reason: str
    retry_after_s: float | None = None
    key_refused: bool = False
    throttled: bool = False
    """The provider has had too many requests of the key, not of this look alone."""


PollAnswer = Running | Completed | Failed | NotFound | LookAgain


# --- what is kept -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """A completed answer as the ledger keeps it (`to_json`, `from_json`): URLs, usage and metadata."""

    outputs: tuple[RemoteOutput, ...]
    usage: Usage = field(default_factory=Usage)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Completed) -> FinalAnswer:
        """What is kept of a completed answer."""
        return cls(answer.outputs, answer.usage, answer.metadata)

    def to_json(self) -> dict[str, Any]:
        """Plain values; amounts are strings, because JSON has no exact ones."""
        cost, discount = self.usage.cost_usd, self.usage.discount
        return {
            "outputs": [{"type": o.type, "url": o.url, "duration_s": o.duration_s} for o in self.outputs],
            "cost_usd": None if cost is None else str(cost),
            "discount": None if discount is None else str(discount),
            "usage": dict(self.usage.raw),
            "metadata": dict(self.metadata),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> FinalAnswer:
        """Made of what `to_json` gave. Raises `KeyError`, `TypeError` or `ArithmeticError` for anything else."""
        cost, discount = raw["cost_usd"], raw["discount"]
        return cls(
            outputs=tuple(RemoteOutput(o["type"], o["url"], o["duration_s"]) for o in raw["outputs"]),
            usage=Usage(
                cost_usd=None if cost is None else Decimal(cost),
                discount=None if discount is None else Decimal(discount),
                raw=raw["usage"],
            ),
            metadata=raw["metadata"],
        )
