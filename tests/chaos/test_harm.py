"""The harm of a run keeps out of its own way."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from tasks.ledger import Ledger
from tasks.ledger.migrate import upgrade
from tests.chaos.harm import Harm
from tests.chaos.plan import Blow, Plan, Scale
from tests.chaos.refusal import Refusal
from tests.support.waiting import wait_until


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Any]:
    """What harm to a database needs of a stage."""
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    upgrade(ledger)
    yield SimpleNamespace(context=SimpleNamespace(ledger=ledger), fuses=tmp_path, pids=dict)
    ledger.close()


def test_a_refusal_that_is_due_while_another_goes_on_waits_for_its_end(stage: Any) -> None:
    refusals = tuple(Blow(0, "refuse", "", 0.3) for _ in range(3))
    calm = Scale(0, window_s=1, fuses=0, kills=0, wipes=0, broker_restarts=0, freezes=0, refusals=len(refusals))
    harm = Harm(stage, Plan(1, calm, (), refusals))
    harm.start()
    try:
        wait_until(lambda: harm.ended and harm.counts["refusal"] == len(refusals), what="the end of all refusals")
    finally:
        harm.stop()


def test_a_refusal_begins_and_ends_however_long_others_hold_the_lock(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/ledger.db", connect_args={"timeout": 0.01})
    refused: list[object] = []
    sa.event.listen(engine, "handle_error", refused.append)
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE attempts (outcome TEXT)")
        begun, end = threading.Event(), threading.Event()

        def refuse() -> None:
            with Refusal(engine).going_on():
                begun.set()
                end.wait(30)

        refusing = threading.Thread(target=refuse)
        other.execute("BEGIN IMMEDIATE")
        refusing.start()
        wait_until(lambda: len(refused) > 1, what="the lock being met more than once")
        other.execute("ROLLBACK")
        wait_until(begun.is_set, what="the refusal")
        other.execute("INSERT INTO attempts VALUES (NULL)")
        with pytest.raises(sqlite3.OperationalError, match="chaos_gone"):
            other.execute("UPDATE attempts SET outcome = 'accepted'")
        tries = len(refused)
        other.execute("BEGIN IMMEDIATE")
        end.set()
        wait_until(lambda: len(refused) > tries + 1, what="the lock being met more than once")
        other.execute("ROLLBACK")
        refusing.join(30)
        assert not refusing.is_alive()
        other.execute("SELECT * FROM attempts").fetchall()  # has it notice that the trigger is gone
        other.execute("UPDATE attempts SET outcome = 'accepted'")
    engine.dispose()
