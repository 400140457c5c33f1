"""Whoever changes a job tells those who watch the work of it (`workers.jobevents`)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.jobs import JobView, State
from tasks.context import Context
from tasks.create import create
from tasks.domain.answers import Unknown
from tasks.lanes import TURNS
from tasks.operating import write_off
from tests.support.bench import Bench

# Who is told does not depend on the kind of the database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def told() -> list[JobView]:
    return []


@pytest.fixture
def telling(bench: Bench, told: list[JobView]) -> Context:
    """What a worker has: its tasks tell of the jobs they have changed."""
    return replace(bench.ctx, tell=told.extend)


def test_a_job_is_told_of_as_it_is_shown(bench: Bench, telling: Context, told: list[JobView]) -> None:
    job_id = bench.submit()
    telling.show([job_id])
    assert [(view.job_id, view.state) for view in told] == [(job_id, State.QUEUED)]


def test_the_sweep_tells_of_a_job_that_a_command_has_ended(bench: Bench, telling: Context, told: list[JobView]) -> None:
    job_id = bench.admitted()
    bench.provider.creates.append(Unknown("reset"))
    create(job_id)
    write_off(bench.ctx, job_id, None)
    bench.lapse()
    TURNS["sweep"](telling)
    assert [(view.job_id, view.state) for view in told] == [(job_id, State.FAILED)]
