"""Databases that are filled straight: the ledger must find in them what it would have written itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from schemas.jobs import State
from tasks.ledger import Ledger, tables
from tasks.ledger.jobs import accept, get_many, latest_changed
from tasks.ledger.migrate import upgrade
from tests.bench.fill import held_jobs, multiply
from tests.support.jobs import NEW_JOB


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_held_jobs_are_generating_jobs_to_the_ledger(database):
    held_jobs(database, 30, spread_s=10)
    ledger = Ledger(f"sqlite:///{database}")
    with ledger.read() as tx:
        jobs = latest_changed(tx, State.GENERATING, None, 100)
    ledger.close()
    assert len({job.provider_task_id for job in jobs}) == 30


def test_each_row_is_there_so_many_times_under_ids_of_its_own(database):
    ledger = Ledger(f"sqlite:///{database}")
    upgrade(ledger)
    with ledger.begin("test") as tx:
        accept(tx, [NEW_JOB])
    multiply(database, 4)
    multiply(database, 5)
    with ledger.read() as tx:
        ids = set(tx.execute(sa.select(tables.jobs.c.id)).scalars())
        told = set(tx.execute(sa.select(tables.timeline.c.job_id)).scalars())
        jobs = get_many(tx, sorted(ids))
    ledger.close()
    assert NEW_JOB.id in ids
    assert len(jobs) == len(ids) == 20
    assert told == ids
