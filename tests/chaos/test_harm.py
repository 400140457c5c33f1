"""The harm of a run keeps out of its own way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.ledger import Ledger
from tasks.ledger.migrate import upgrade
from tests.chaos.harm import Harm
from tests.chaos.plan import Blow, Plan, Scale
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
