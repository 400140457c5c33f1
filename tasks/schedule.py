"""Makes the timetable's entry of a generating job: what is needed to ask, and when to ask first."""

from __future__ import annotations

import random

from tasks.domain.job import Job
from tasks.domain.polling import PollPolicy, next_look_s
from tasks.pulse.timetable import Entry


def timetable_entry(policy: PollPolicy, job: Job, age_s: float = 0.0) -> Entry:
    """The timetable's entry for a generating job whose provider task is `age_s` seconds old."""
    if job.provider_task_id is None or job.key_alias is None or job.generating_at is None:
        raise ValueError(f"job {job.id} has no provider task to look at")
    delay_s = next_look_s(policy, age_s=age_s, polls=0, retry_after_s=None, spread=random.random())  # noqa: S311
    return Entry(job.id, delay_s, job.provider_task_id, job.key_alias, job.generating_at)
