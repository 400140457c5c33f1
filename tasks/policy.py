"""The knobs of what happens to a job: one frozen value, filled from the environment by `workers.settings`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tasks.domain.delivering import WebhookPolicy
from tasks.domain.doubt import DoubtPolicy
from tasks.domain.polling import PollPolicy


@dataclass(frozen=True, slots=True)
class Policy:
    """How much at a time, how long, how often. Durations in seconds."""

    open_tasks_per_key: int = 20
    """Provider tasks that one key may have open at the same time."""
    accept_batch: int = 100
    admit_batch: int = 50
    priority_step_s: float = 60.0
    """By how much one step of priority puts a job before its tenant's others: so every job has its turn in the end."""
    poll_batch: int = 100
    """Provider tasks that the poll lane asks about at the same time."""
    poll_concurrency: int = 32
    """Threads of a process that wait for servers beside the poll lane: what a stray cost, several jobs' outputs. There
    are as many at least as jobs go together."""
    poll_lease_s: float = 15.0
    """Above the total deadline of a poll: what is not put back by then falls due again."""
    callback_patience: float = 4.0
    """How many times as long a task is left alone while the provider calls back: it says itself when it has ended."""
    sweep_batch: int = 200
    poll: PollPolicy = field(default_factory=PollPolicy)
    uncertain: DoubtPolicy = field(default_factory=DoubtPolicy)
    webhook: WebhookPolicy = field(default_factory=WebhookPolicy)

    lane_idle_s: float = 0.5
    """The longest a lane stays away when nothing is due."""
    lane_ttl_s: float = 15.0
    """A lane that has given no sign for so long is seeded anew; a turn gives one every third of it."""
    sweep_interval_s: float = 5.0

    handover_s: float = 20.0
    """How long a message may be on its way before the sweep sends another."""
    confirm_s: float = 300.0
    """How often the sweep makes sure that a generating job is on the timetable."""
    create_lease_s: float = 120.0
    """Above the total deadline of a create: after it, an attempt without an outcome is unknown."""
    create_start_s: float = 10.0
    """How long after its attempt was committed a create may still be sent: a worker that slept must not send late."""
    uncertain_slot_s: float = 1800.0
    """How long an uncertain job holds its slot: whatever it may have open has ended by then."""
    settle_s: float = 60.0
    """How soon it is asked what a provider task cost that no job follows; asked again ever later, at most an hour."""
    work_lease_s: float = 20.0
    """Lease of a download; renewed while the work goes on."""
    deaths_most: int = 3
    """Workers that may die over one job's step before it is parked."""
    create_retry_s: float = 5.0
    """From a create that was provably not sent, or throttled without a time, to the next turn."""
    key_pause_s: float = 30.0
    """How long a key that was refused takes nothing new."""

    download_tries: int = 8
    download_retry_s: float = 5.0
    """Before the second try; doubled for each further one, at most five minutes."""
    output_max_bytes: int = 1_000_000_000
    disk_low_bytes: int = 1_000_000_000
    """What stays free where outputs are kept, and where the spool is: a download that would go below stops; no download
    is claimed, and no create."""

    outputs_days: float = 0.0
    """How long the files of a job are kept after its end, in days; 0: for good."""
    jobs_days: float = 0.0
    """How long a job is kept after its end, in days; 0: for good. What it was charged is kept for good in any case."""


LONGEST_DAYS: Final = 36_500.0


def days_problem(outputs_days: float, jobs_days: float) -> str | None:
    """Why jobs can't be kept for `jobs_days` and their files for `outputs_days`; `None` when they can."""
    if jobs_days and not 0 < outputs_days <= jobs_days:
        return "must not be below REELWORKS_OUTPUTS_DAYS, which it needs: nobody would know of the files of no job"
    return None
