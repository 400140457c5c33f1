"""What the gateway's views work with: the ledger and the store, what can be set, and how far jobs are by Redis."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from flask import current_app

from schemas.jobs import State
from tasks import context
from tasks.context import Context
from tasks.domain.callbacks import CallbackTokens
from tasks.forms.links import Links
from tasks.ledger.resources import JobResource, resource_of
from tasks.pulse import PulseError
from tasks.pulse.timetable import Noted
from workers.credentials import Secret
from workers.gateway.following import Waits, until_ended
from workers.gateway.problems import Trouble
from workers.gateway.rates import Rates
from workers.limits import GatewayLimits
from workers.metrics.collector import Figures

_AWAY_S: Final = 5.0
_EXTENSION: Final = "reelworks"


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """What the gateway is set to. `public_url`: where callers reach it, if not where they say they do."""

    links: Links
    tokens: CallbackTokens
    limits: GatewayLimits
    public_url: str | None = None
    metrics_token: Secret | None = None
    """Who has it may see figures of all tenants; `None`: nobody may."""


@dataclass
class Desk:
    """One for an application. Redis only adds to answers: while it is away they lack progress, and take no longer."""

    options: GatewayOptions
    waits: Waits = field(init=False)
    rates: Rates = field(init=False)
    figures: Figures = field(init=False)
    _away_until: float = 0.0

    def __post_init__(self) -> None:
        self.waits = Waits(self.options.limits.waits_most)
        self.rates = Rates(self.options.limits.processes)
        self.figures = Figures(context.current)

    @property
    def ctx(self) -> Context:
        """The adapters of this process."""
        return context.current()

    def job_of(self, tenant: str, job_id: str) -> JobResource:
        """A tenant's job. Raises `Trouble` (404) for another one's as for none."""
        with self.ctx.ledger.read() as tx:
            job = resource_of(tx, tenant, job_id)
        if job is None:
            raise Trouble(404, "not_found", "There is no such job.")
        return job

    def progress(self, jobs: Sequence[JobResource]) -> Mapping[str, float]:
        """How far those of the jobs are that the provider works on, 0 to 1, by the last look at each."""
        return progress_in(self.noted(jobs))

    def noted(self, jobs: Sequence[JobResource]) -> Mapping[str, Noted]:
        """What the timetable knows of those of the jobs that the provider works on; nothing while Redis is away."""
        asked = [job.id for job in jobs if job.view.state is State.GENERATING]
        if not asked or time.monotonic() < self._away_until:
            return {}
        try:
            return self.ctx.pulse.timetable.noted_of(asked)
        except PulseError:
            self._away_until = time.monotonic() + _AWAY_S
            return {}

    def wait(self, tenant: str, job_id: str, for_s: float) -> bool:
        """Wait for a job's end, if a thread may be spent on it; whether that was so."""
        if for_s <= 0 or not self.waits.take():
            return False
        try:
            until_ended(self.ctx, tenant, job_id, for_s)
        finally:
            self.waits.give_back()
        return True


def progress_in(noted: Mapping[str, Noted]) -> Mapping[str, float]:
    """The progress of those of which the provider reported any."""
    return {job_id: each.progress for job_id, each in noted.items() if each.progress is not None}


def desk() -> Desk:
    """That of the application at work."""
    return cast(Desk, current_app.extensions[_EXTENSION])


def put(extensions: dict[str, object], made: Desk) -> None:
    """Have an application's views find it."""
    extensions[_EXTENSION] = made
