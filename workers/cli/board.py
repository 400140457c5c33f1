"""Where a set of jobs stands, read again and again through the producer's handles. Owns no layout and no waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Self

import redis

from schemas.handle import Handle
from schemas.jobs import TERMINAL, JobView, Output, State

OUTAGE_S: Final = 60.0
"""Redis may be away for so long: what runs goes on without it, and its views come back."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one job stands. `state` is `None` while it is not accepted; `since` and `changed` are the instants of its
    first and latest events. `progress` (0 to 1), `polls` and `next_look_at` are there while the provider is asked."""

    job_id: str
    state: State | None = None
    changes: int = 0
    since: datetime | None = None
    changed: datetime | None = None
    progress: float | None = None
    polls: int | None = None
    next_look_at: datetime | None = None
    outputs: tuple[Output, ...] = ()
    charged_usd: Decimal | None = None
    error_code: str | None = None
    error_message: str | None = None

    @classmethod
    def of_info(cls, job_id: str, info: Mapping[str, Any]) -> Self:
        """From what `Handle.info` gives."""
        events = info.get("events", ())
        return cls(
            job_id=job_id,
            state=info["state"],
            changes=len(events),
            since=events[0]["at"] if events else None,
            changed=events[-1]["at"] if events else None,
            progress=info.get("progress"),
            polls=info.get("polls"),
            next_look_at=info.get("next_look_at"),
            outputs=tuple(Output(**each) for each in info.get("outputs", ())),
            charged_usd=info.get("charged_usd"),
            error_code=info.get("error_code"),
            error_message=info.get("error_message"),
        )

    @classmethod
    def of_view(cls, view: JobView) -> Self:
        """From a view as the ledger gives it."""
        return cls(
            job_id=view.job_id,
            state=view.state,
            changes=len(view.events),
            since=view.events[0].at if view.events else None,
            changed=view.events[-1].at if view.events else None,
            outputs=view.outputs,
            charged_usd=view.charged_usd,
            error_code=view.error_code,
            error_message=view.error_message,
        )

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL

    def as_json(self) -> dict[str, Any]:
        """Everything but what changes between two looks."""
        names = ("job_id", "state", "since", "changed", "outputs", "charged_usd", "error_code", "error_message")
        return {name: getattr(self, name) for name in names}

    def elapsed_s(self, now: datetime) -> float | None:
        """Seconds from acceptance to the end, or to `now`."""
        until = self.changed if self.terminal and self.changed is not None else now
        return None if self.since is None else (until - self.since).total_seconds()


class Board:
    """Several jobs. `refresh()` asks for those that have not ended; `standings` is what is known, in the given order.

    `moved_at` is the monotonic instant at which anything last moved: a state, or the progress of a task.
    """

    def __init__(
        self,
        handles: Sequence[Handle],
        known: Sequence[Standing] = (),
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handles = list(handles)
        self._monotonic = monotonic
        self._heard_at = self.moved_at = monotonic()
        self._standings = {handle.id: Standing(handle.id) for handle in handles}
        self._standings.update({each.job_id: each for each in known})

    @property
    def standings(self) -> list[Standing]:
        """One for each job, in the given order."""
        return list(self._standings.values())

    @property
    def open(self) -> list[Standing]:
        """The jobs that have not ended."""
        return [each for each in self.standings if not each.terminal]

    def refresh(self) -> list[Standing]:
        """Ask for the open jobs; gives those whose state has changed.

        A Redis that is away is left alone until the next call; `redis.RedisError` after a minute of that.
        """
        changed = []
        try:
            for handle in self._handles:
                before = self._standings[handle.id]
                if before.terminal:
                    continue
                after = Standing.of_info(handle.id, handle.info)
                if after.state is None and before.state is not None:
                    continue  # a view that was wiped comes back from the ledger
                self._standings[handle.id] = after
                if (after.state, after.progress) != (before.state, before.progress):
                    self.moved_at = self._monotonic()
                if after.changes != before.changes or after.state != before.state:
                    changed.append(after)
        except (redis.ConnectionError, redis.TimeoutError):
            if self._monotonic() - self._heard_at > OUTAGE_S:
                raise
        else:
            self._heard_at = self._monotonic()
        return changed
