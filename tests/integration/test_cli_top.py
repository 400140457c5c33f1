"""`top`: one picture of the whole, with Redis and without."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console

from tasks.create import create
from tasks.domain.answers import Rejected
from tasks.domain.budgets import EVERYONE, Budget, Period, WhenUsedUp
from tasks.ledger import LedgerError
from tasks.ledger.spending import set_budget
from tests.support.bench import Bench
from tests.support.situations import completed
from workers.cli import top
from workers.cli.frame import Frame
from workers.runtime import open_pulse
from workers.settings import read_settings

Said = Callable[..., Result]


@pytest.fixture
def busy(bench: Bench) -> Bench:
    """A bench on which something of everything can be seen."""
    failed = bench.admitted(tenant="film")
    bench.provider.creates.append(Rejected("2013", "bad"))
    create(failed)
    completed(bench, bench.submit(tenant="film"))
    bench.generating(tenant="film")
    bench.submit(tenant="ads")
    with bench.ctx.ledger.begin() as tx:
        set_budget(tx, Budget(EVERYONE, Period.DAY, Decimal("9.50"), WhenUsedUp.WAIT))
    epoch = bench.ctx.pulse.lanes.seed("poll", 60)
    assert epoch is not None
    bench.ctx.pulse.lanes.renew("poll", epoch, 60)  # a turn was taken
    return bench


@pytest.mark.usefixtures("quick_films")
class TestOnce:
    def test_a_picture_has_all_that_somebody_on_call_asks_for(self, busy: Bench, said: Said) -> None:
        document = json.loads(said("top", "--json").stdout)
        states = {state: each["jobs"] for state, each in document["ledger"]["states"].items()}
        assert states == {"queued": 1, "generating": 1}
        assert document["failed"] == {"2013": 1}
        shown = " ".join(said("top", "--once").stdout.split())
        for words in (
            "generating 1",
            "queued 1",
            f"main 1/{read_settings().policy.open_tasks_per_key} takes tasks",
            "film 0 1 -",
            "ads 1 0",
            "spent this day $0.28",
            "held for what is under way $0.28",
            "all a day $0.56 $9.50",
            "sweep silent",
            "looks planned 1",
            "2013 1",
        ):
            assert words in shown, words
        assert re.search(r"poll \d+ s ago", shown)

    def test_without_a_terminal_it_prints_once(self, busy: Bench, said: Said) -> None:
        assert said("top").stdout.count("Reelworks at ") == 1

    def test_while_redis_is_away_it_says_so_and_shows_the_rest(
        self, busy: Bench, said: Said, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REELWORKS_REDIS_URL", "redis://127.0.0.1:1/0")
        shown = said("top", "--once").stdout
        assert "Redis does not answer (ConnectionError): lanes, looks and queues are not known." in shown
        assert "generating" in shown
        assert "silent" not in shown
        assert json.loads(said("top", "--json").stdout)["redis"] is None


def test_it_changes_nothing(bench: Bench, said: Said) -> None:
    bench.submit()
    redis: Any = bench.ctx.pulse.redis

    def kept() -> dict[bytes, bytes]:
        return {name: redis.dump(name) for name in redis.scan_iter()}

    before = kept()
    said("top", "--once")
    assert kept() == before


def test_it_goes_on_through_an_outage_of_the_database(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = top.look(read_settings(), bench.ctx.ledger, open_pulse(read_settings()))
    monkeypatch.setattr(top, "time", SimpleNamespace(sleep=lambda _: None))

    def looks() -> Iterator[Frame]:
        yield frame
        raise LedgerError("canary")

    answers = looks()

    def again() -> Frame:
        found = next(answers, None)
        if found is None:
            raise KeyboardInterrupt
        return replace(found, failed={"late": 1})

    out = Console(file=StringIO(), force_terminal=True, width=120, height=50)
    with pytest.raises(KeyboardInterrupt):
        top._follow(out, frame, 1.0, again)
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    assert shown.index("Failed in the last hour") < shown.index("late") < shown.index("The database does not answer")
    assert "canary" not in shown
