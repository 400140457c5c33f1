"""What the statements of a job's way cost on both databases: each finds its rows by an index, and none takes longer for
jobs that have ended.

The statements are those that the steps are heard to send while jobs go every way there is; no list of them is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

import tasks.schedule
from tasks import failpoints
from tasks.domain.budgets import Budget, Period, WhenUsedUp
from tasks.domain.pauses import Scope
from tasks.failpoints import FAILPOINTS
from tasks.ledger import Ledger, facts, tables
from tasks.ledger.facts import SpanOfTime
from tasks.ledger.gauges import ledger_gauges
from tasks.ledger.pauses import admitted_of, knows_key, knows_tenant
from tasks.ledger.provider_keys import set_key
from tasks.ledger.reports import costs
from tasks.ledger.spending import set_budget
from tasks.ledger.underway import failed_lately, in_flight
from tests.support.bench import Bench
from tests.support.doors import client, new_key
from tests.support.every_way import backdate, complete_in_several_tries, go_every_way, have_ended
from tests.support.html import Page
from tests.support.situations import uncertain, with_policy

GROWING = ("jobs", "attempts", "charges", "timeline", "outputs", "inputs", "webhooks")
"""Tables with a row, or several, of every job there ever was."""
SHORT = frozenset(
    str(index.name) for index in tables.jobs.indexes if index.dialect_options["postgresql"].get("where") is not None
) - {"ix_jobs_kept"}
"""Indexes of those jobs alone that wait or are under way: to read all of one is what they are for."""
ENDED = 1_000
_LIST = re.compile(r"(%\(\w+\)s(::\w+)?|\?)(, (%\(\w+\)s(::\w+)?|\?))+")


@dataclass
class Heard:
    """Statements as they were sent, each with the parameters of (at least) one time."""

    statements: list[tuple[str, Any]] = field(default_factory=list)

    def __call__(self, _connection: Any, _cursor: Any, text: str, given: Any, *_: Any) -> None:
        if not text.startswith(("BEGIN", "PRAGMA")):
            self.statements.append((text, given[0] if isinstance(given, list) else given))

    def once_each(self) -> list[tuple[str, Any]]:
        """One of each kind: what differs in the length of a list alone is of one kind."""
        return list({_LIST.sub("...", text): (text, given) for text, given in self.statements}.values())


@contextmanager
def heard_on(ledger: Ledger) -> Iterator[Heard]:
    heard = Heard()
    sa.event.listen(ledger.engine, "before_cursor_execute", heard)
    try:
        yield heard
    finally:
        sa.event.remove(ledger.engine, "before_cursor_execute", heard)


@contextmanager
def undone(ledger: Ledger) -> Iterator[sa.Connection]:
    """A connection on which nothing lasts."""
    with ledger.engine.connect() as connection, closing(connection.begin()):
        yield connection


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def plan_of(connection: sa.Connection, text: str, given: Any, options: str = "FORMAT JSON") -> list[dict[str, Any]]:
    """The nodes of PostgreSQL's plan."""
    answer: Any = connection.exec_driver_sql(f"EXPLAIN ({options}) {text}", given).scalar_one()
    return list(nodes(answer[0]["Plan"]))


def reads_whole(connection: sa.Connection, text: str, given: Any) -> bool:
    """Whether a statement goes through a whole growing table, or a whole index of one. PostgreSQL's plans say so only
    where there are rows enough that it is worth its while not to."""
    if connection.dialect.name == "sqlite":
        steps = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given)]
        scanned = [step for step in steps if re.match(rf"SCAN ({'|'.join(GROWING)})\b", step)]
        return any(not step.endswith(tuple(SHORT)) for step in scanned)
    plan = plan_of(connection, text, given)
    whole_table = any(node["Node Type"] == "Seq Scan" and node["Relation Name"] in GROWING for node in plan)
    unbounded = [node for node in plan if "Index" in node["Node Type"] and "Index Cond" not in node]
    return whole_table or any(node.get("Index Name") not in SHORT for node in unbounded)


def whole_readers(ledger: Ledger, heard: Heard) -> list[str]:
    """The texts of the statements that read a growing table whole; what they were given is nobody's business."""
    with undone(ledger) as connection:
        return [text for text, given in heard.once_each() if reads_whole(connection, text, given)]


def work(connection: sa.Connection, text: str, given: Any) -> float:
    """What it takes to run a statement, in units that no load of the machine changes: rows that PostgreSQL visits,
    instructions of SQLite's virtual machine."""
    if connection.dialect.name == "postgresql":
        plan = plan_of(connection, text, given, "ANALYZE, TIMING OFF, FORMAT JSON")
        visited = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        return float(sum(node["Actual Loops"] * sum(node.get(name, 0) for name in visited) for node in plan))
    instructions = 0

    def count() -> int:
        nonlocal instructions
        instructions += 1
        return 0

    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(count, 1)
    try:
        result = connection.exec_driver_sql(text, given)
        if result.returns_rows:
            result.fetchall()
    finally:
        driver.set_progress_handler(None, 1)
    return instructions


def works(quiet: Bench, statements: Sequence[tuple[str, Any]]) -> list[float]:
    """What each of these takes."""
    with undone(quiet.ctx.ledger) as connection:
        return [work(connection, *statement) for statement in statements]


@pytest.fixture(autouse=True)
def few_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of so many that nearly all jobs here are among them, PostgreSQL would rightly read the whole table."""
    monkeypatch.setattr(tasks.schedule, "_SEEDED_FROM", 5)


@pytest.fixture
def quiet(bench: Bench, database_url: str) -> Iterator[Bench]:
    """The same bench for the test's own looks at the database, to which nobody listens."""
    with closing(Ledger(database_url)) as ledger:
        yield replace(bench, ctx=replace(bench.ctx, ledger=ledger))


def asks_what_is_in_doubt(statement: tuple[str, Any]) -> bool:
    """Whether a statement asks what is held for jobs in doubt since a restore: who admits, where a budget refuses."""
    text, _ = statement
    return "sum(jobs.hold_usd)" in text and "EXISTS" in text


def test_every_statement_of_a_jobs_way_finds_its_rows_by_an_index(
    bench: Bench, quiet: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: set[str] = set()
    monkeypatch.setattr(failpoints, "_armed", dict.fromkeys(FAILPOINTS, passed.add))
    with heard_on(bench.ctx.ledger) as heard:
        _, completed = go_every_way(bench, quiet, monkeypatch)
    monkeypatch.setattr(failpoints, "_armed", {})
    # What is not gone through here is not heard.
    assert {place for place in FAILPOINTS if place.endswith(".after_commit")} <= passed
    assert any(map(asks_what_is_in_doubt, heard.statements))
    have_ended(quiet, completed, ENDED, "old")
    found = whole_readers(quiet.ctx.ledger, heard)
    assert not found, "\n\n".join(found)


@pytest.mark.parametrize(
    ("index", "step"),
    [
        ("ix_jobs_lease", lambda bench, _: bench.turn("sweep")),
        ("ix_attempts_settle_at", lambda bench, _: bench.turn("sweep")),
        ("ix_charges_job_id", lambda bench, completed: bench.ctx.show([completed])),
    ],
    ids=["lease", "settle", "charges"],
)
def test_an_index_that_is_gone_is_missed(
    bench: Bench, quiet: Bench, monkeypatch: pytest.MonkeyPatch, index: str, step: Callable[[Bench, str], object]
) -> None:
    completed = complete_in_several_tries(bench, quiet, monkeypatch)
    have_ended(quiet, completed, ENDED, "old")
    with quiet.ctx.ledger.begin() as tx:
        tx.execute(sa.text(f"DROP INDEX {index}"))
    with heard_on(bench.ctx.ledger) as heard:
        step(bench, completed)
    assert whole_readers(quiet.ctx.ledger, heard)


def read_gauges(bench: Bench) -> None:
    with bench.ctx.ledger.read() as tx:
        ledger_gauges(tx, 60)
        in_flight(tx)
        failed_lately(tx, 3600)
        for scope in Scope:
            admitted_of(tx, scope, "main")
        assert not knows_tenant(tx, "nobody")
        assert not knows_key(tx, "nobody's")


def test_the_figures_of_metrics_find_their_rows_by_an_index_and_cost_no_more_for_jobs_that_have_ended(
    bench: Bench, quiet: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, completed = go_every_way(bench, quiet, monkeypatch)
    bench.submit()
    have_ended(quiet, completed, ENDED, "first")
    with bench.ctx.ledger.begin() as tx:
        set_key(tx, "main", closed=True)
    with heard_on(bench.ctx.ledger) as heard:
        read_gauges(bench)
    asked = [each for each in heard.statements if each[0].startswith(("SELECT", "WITH"))]
    assert len(asked) >= 10
    assert any("RECURSIVE used" in text for text, _ in asked), "it is asked for where every key is closed"
    found = whole_readers(quiet.ctx.ledger, Heard(asked))
    assert not found, "\n\n".join(found)

    before = works(quiet, asked)
    have_ended(quiet, completed, ENDED, "later")
    for (text, _), few, many in zip(asked, before, works(quiet, asked), strict=True):
        # Another plan may be chosen by now, which takes some steps more, but none for each job.
        assert many - few < ENDED / 2, f"{few} -> {many}\n{text}"


def long_past(quiet: Bench, prefix: str) -> None:
    """Have every ended job of `have_ended` be of another month."""
    with quiet.ctx.ledger.begin() as tx:
        then = tx.now - timedelta(days=60)
        mine = tables.jobs.c.id.startswith(f"{prefix}-")
        tx.execute(sa.update(tables.jobs).where(mine).values(accepted_at=then, changed_at=then))
        charged = tables.charges.c.job_id.startswith(f"{prefix}-")
        tx.execute(sa.update(tables.charges).where(charged).values(charged_at=then))
    with quiet.ctx.ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE" if connection.dialect.name == "postgresql" else "ANALYZE"))


def test_the_reels_pages_find_their_rows_by_an_index_and_cost_no_more_for_jobs_of_the_past(
    bench: Bench, quiet: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, completed = go_every_way(bench, quiet, monkeypatch)
    bench.submit()
    with quiet.ctx.ledger.begin() as tx:
        set_budget(tx, Budget("default", Period.MONTH, Decimal(9), WhenUsedUp.WAIT))
        tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id == completed).values(batch_id="together"))
    browser = client()
    token = Page(browser.get("/reel/sign-in").text).fields["token"]
    browser.post("/reel/sign-in", data={"key": new_key(quiet.ctx.ledger, "default"), "token": token})
    have_ended(quiet, completed, ENDED, "first")
    with quiet.ctx.ledger.begin() as tx:
        tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id != completed).values(batch_id=None))
    long_past(quiet, "first")
    with heard_on(bench.ctx.ledger) as heard:
        for path in ("", "jobs", f"jobs/{completed}", "batches/together", "costs"):
            assert browser.get(f"/reel/{path}").status_code == 200
    asked = [each for each in heard.statements if each[0].startswith(("SELECT", "WITH"))]
    assert len(asked) >= 35
    found = whole_readers(quiet.ctx.ledger, Heard(asked))
    assert not found, "\n\n".join(found)

    before = works(quiet, asked)
    have_ended(quiet, completed, ENDED, "later")
    with quiet.ctx.ledger.begin() as tx:
        tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id != completed).values(batch_id=None))
    long_past(quiet, "later")
    for (text, _), few, many in zip(asked, before, works(quiet, asked), strict=True):
        assert many - few < ENDED / 2, f"{few} -> {many}\n{text}"


def read_report(bench: Bench, tenant: str | None) -> None:
    with bench.ctx.ledger.read() as tx:
        span = SpanOfTime(tx.now - timedelta(days=7), tx.now, tenant)
        assert any(facts.accepted_in(tx, span))
        list(facts.charged_besides(tx, span))
        facts.delivered_in(tx, span)
        costs(tx, since=span.since, until=span.until, tenant=tenant)


@pytest.mark.parametrize("tenant", [None, "default"])
def test_a_report_finds_its_rows_by_an_index_and_costs_no_more_for_jobs_of_the_past(
    bench: Bench, quiet: Bench, monkeypatch: pytest.MonkeyPatch, tenant: str | None
) -> None:
    completed = complete_in_several_tries(bench, quiet, monkeypatch)
    have_ended(quiet, completed, ENDED, "first")
    long_past(quiet, "first")
    with heard_on(bench.ctx.ledger) as heard:
        read_report(bench, tenant)
    asked = [each for each in heard.statements if each[0].startswith("SELECT")]
    assert len(asked) >= 10
    found = whole_readers(quiet.ctx.ledger, Heard(asked))
    assert not found, "\n\n".join(found)

    before = works(quiet, asked)
    have_ended(quiet, completed, ENDED, "later")
    long_past(quiet, "later")
    for (text, _), few, many in zip(asked, before, works(quiet, asked), strict=True):
        assert many - few < ENDED / 2, f"{few} -> {many}\n{text}"


def test_a_turn_costs_no_more_for_jobs_that_have_ended(
    bench: Bench, quiet: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, completed = go_every_way(bench, quiet, monkeypatch)
    bench = with_policy(
        bench, sweep_batch=5, outputs_days=1.0, jobs_days=30.0
    )  # of what ended lately, so many are shown again in a turn after a wipe
    uncertain(bench)
    for _ in range(3):
        bench.submit()
    backdate(quiet, "settle_at", tables.attempts)
    quiet.lapse()
    bench.ctx.pulse.redis.flushall()
    have_ended(quiet, completed, 30, "first")  # more than are asked for anywhere
    sent: dict[str, list[tuple[str, Any]]] = {}
    for lane in ("admit", "sweep"):
        with heard_on(bench.ctx.ledger) as heard:
            bench.turn(lane)
        # What was inserted is there already.
        sent[lane] = [each for each in heard.statements if not each[0].startswith("INSERT")]
    assert any(map(asks_what_is_in_doubt, sent["admit"]))
    sent["one that grows"] = [("SELECT max(event) FROM timeline", None)]

    before = {lane: works(quiet, statements) for lane, statements in sent.items()}
    have_ended(quiet, completed, ENDED, "later")
    have_ended(quiet, completed, ENDED, "pruned")
    with quiet.ctx.ledger.begin() as tx:  # kept by now without their files
        values = {"pruned_at": tx.now, "changed_at": tx.now - timedelta(days=9)}
        tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id.startswith("pruned-")).values(values))
    after = {lane: works(quiet, statements) for lane, statements in sent.items()}
    for lane, statements in sent.items():
        for (text, _), few, many in zip(statements, before[lane], after[lane], strict=True):
            grows = many - few >= ENDED / 20  # far from a step for each
            assert grows is (lane == "one that grows"), f"{lane}: {few} -> {many}\n{text}"
