"""The ledger on both databases: what it promises about states, claims and money, under repetition and races."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from schemas.jobs import Output, State
from tasks.domain.prices import Price
from tasks.domain.transitions import Event
from tasks.ledger import Ledger, SchemaMismatch, tables
from tasks.ledger.database import Transaction
from tasks.ledger.deliverables import store_outputs
from tasks.ledger.jobs import accept, get, latest_changed, move
from tasks.ledger.leases import claim, extend, lapsed, release
from tasks.ledger.migrate import _config, check, upgrade
from tasks.ledger.money import begin_attempt, charge, end_attempt, open_attempt
from tasks.ledger.views import views_of
from tests.support.jobs import NEW_JOB

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def accept_one(ledger: Ledger, job_id: str = "job-1", **changes: object) -> None:
    with ledger.begin() as tx:
        assert accept(tx, [replace(NEW_JOB, id=job_id, **changes)]) == {job_id}  # type: ignore[arg-type]


def drive(ledger: Ledger, *events: Event, job_id: str = "job-1") -> None:
    """Take a job through events, with the values that each step would write."""
    values = {
        Event.ADMIT: {"lease_s": 30, "key_alias": "a"},
        Event.BEGIN: {"lease_s": 30},
        Event.UNKNOWN: {"lease_s": 30},
        Event.ACCEPTED: {"lease_s": 30, "provider_task_id": f"task-of-{job_id}", "generating_at": datetime.now(UTC)},
        Event.COMPLETED: {"lease_s": 30},
        Event.STORED: {"lease_s": 30},
    }
    for event in events:
        with ledger.begin() as tx:
            assert move(tx, job_id, event, **values.get(event, {})) is not None, event  # type: ignore[arg-type]


def at_once(count: int, work: Callable[[], object]) -> list[object]:
    """Run `work` in `count` threads that start together; gives what each returned."""
    gate, results = threading.Barrier(count), []

    def run() -> None:
        gate.wait()
        results.append(work())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == count
    return results


def test_accepting_twice_writes_one_job_and_one_moment(ledger: Ledger) -> None:
    accept_one(ledger)
    with ledger.begin() as tx:
        assert accept(tx, [NEW_JOB]) == frozenset()
    with ledger.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(tables.timeline)).scalar() == 1


def test_the_same_idempotency_key_is_the_same_job(ledger: Ledger) -> None:
    accept_one(ledger, idempotency_key="order-7")
    with ledger.begin() as tx:
        assert accept(tx, [replace(NEW_JOB, id="job-2", idempotency_key="order-7")]) == frozenset()
        assert accept(tx, [replace(NEW_JOB, id="job-3", idempotency_key="order-7", tenant="other")]) == {"job-3"}


def test_a_move_writes_the_state_and_the_moment_together(ledger: Ledger) -> None:
    accept_one(ledger)
    drive(ledger, Event.ADMIT)
    with ledger.read() as tx:
        (view,) = views_of(tx, ["job-1"])
    assert view.state is State.ADMITTED
    assert [(e.seq, e.event, e.state) for e in view.events] == [(1, "accept", "queued"), (2, "admit", "admitted")]
    assert view.metadata == {"shot": 3}
    assert all(event.at.tzinfo is not None for event in view.events)


def test_an_event_out_of_order_changes_nothing(ledger: Ledger) -> None:
    accept_one(ledger)
    with ledger.begin() as tx:
        assert move(tx, "job-1", Event.COMPLETED, lease_s=1) is None
        assert move(tx, "no-such-job", Event.ADMIT, lease_s=1) is None
    with ledger.read() as tx:
        job = get(tx, "job-1")
    assert job is not None
    assert (job.state, job.version) == (State.QUEUED, 1)


def test_of_many_workers_that_begin_a_create_one_succeeds(ledger: Ledger) -> None:
    accept_one(ledger)
    drive(ledger, Event.ADMIT)

    def begin() -> bool:
        with ledger.begin() as tx:
            job = move(tx, "job-1", Event.BEGIN, lease_s=30)
            if job is not None:
                begin_attempt(tx, job)
            return job is not None

    assert sorted(at_once(8, begin)) == [False] * 7 + [True]
    with ledger.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(tables.attempts)).scalar() == 1


def test_a_change_that_has_to_be_followed_up_needs_a_lease_and_no_other_takes_one(ledger: Ledger) -> None:
    accept_one(ledger)
    with ledger.begin() as tx, pytest.raises(ValueError, match="needs lease"):
        move(tx, "job-1", Event.ADMIT)
    drive(ledger, Event.ADMIT)
    with ledger.begin() as tx, pytest.raises(ValueError, match="takes no lease"):
        move(tx, "job-1", Event.UNSENT, lease_s=5)


def test_of_many_claims_one_holds_until_its_lease_runs_out(ledger: Ledger) -> None:
    accept_one(ledger)
    drive(ledger, Event.ADMIT, Event.BEGIN, Event.ACCEPTED, Event.COMPLETED)

    def claimed() -> bool:
        with ledger.begin() as tx:
            return claim(tx, "job-1", State.DOWNLOADING, 60) is not None

    assert sorted(at_once(6, claimed)) == [False] * 5 + [True]
    with ledger.begin() as tx:
        tx.execute(sa.update(tables.jobs).values(lease_until=tx.now - timedelta(seconds=1)))
    with ledger.begin() as tx:
        again = claim(tx, "job-1", State.DOWNLOADING, 60)
    assert again is not None
    assert again.tries == 2


def test_a_claim_that_was_taken_over_can_not_be_extended_or_released(ledger: Ledger) -> None:
    accept_one(ledger)
    drive(ledger, Event.ADMIT, Event.BEGIN, Event.ACCEPTED, Event.COMPLETED)
    with ledger.begin() as tx:
        first = claim(tx, "job-1", State.DOWNLOADING, -1)
    with ledger.begin() as tx:
        second = claim(tx, "job-1", State.DOWNLOADING, 60)
    assert first is not None
    assert second is not None
    with ledger.begin() as tx:
        assert not extend(tx, first, 60)
        release(tx, first, 0)
        assert extend(tx, second, 60)
        assert claim(tx, "job-1", State.DOWNLOADING, 60) is None


def test_the_sweep_sees_only_what_is_past_its_lease(ledger: Ledger) -> None:
    accept_one(ledger, "late")
    accept_one(ledger, "on-time")
    with ledger.begin() as tx:
        move(tx, "late", Event.ADMIT, lease_s=-1, key_alias="a")
        move(tx, "on-time", Event.ADMIT, lease_s=60, key_alias="a")
    with ledger.read() as tx:
        assert [job.id for job in lapsed(tx, 10)] == ["late"]


def test_pages_of_the_latest_changed_give_each_job_once_also_where_moments_are_equal(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        accept(tx, [replace(NEW_JOB, id=f"job-{n}") for n in range(5)])
        tx.execute(sa.update(tables.jobs).values(changed_at=tx.now))
        yesterday = sa.update(tables.jobs).where(tables.jobs.c.id == "job-2")
        tx.execute(yesterday.values(changed_at=tx.now - timedelta(days=1)))
    found: list[str] = []
    before = None
    with ledger.read() as tx:
        while page := latest_changed(tx, State.QUEUED, before, 2):
            found += [job.id for job in page]
            before = page[-1].changed_at, page[-1].id
        assert found == ["job-4", "job-3", "job-1", "job-0", "job-2"]
        assert len(latest_changed(tx, State.QUEUED, None, 10, within_s=3600)) == 4
        assert latest_changed(tx, State.FAILED, None, 10) == []


def test_a_provider_task_is_charged_once_however_often_it_is_recorded(ledger: Ledger) -> None:
    accept_one(ledger)
    drive(ledger, Event.ADMIT, Event.BEGIN, Event.ACCEPTED)

    def charged() -> bool:
        with ledger.begin() as tx:
            job = get(tx, "job-1")
            assert job is not None
            price = Price(Decimal("0.28"), estimated=False)
            return charge(tx, job, price, discount="1", usage={"cost": "0.28"}, metadata={})

    assert sorted(at_once(6, charged)) == [False] * 5 + [True]
    with ledger.read() as tx:
        assert tx.execute(sa.select(sa.func.sum(tables.charges.c.amount_usd))).scalar() == Decimal("0.28")


def test_money_is_exact_and_never_rounded_in_silence(ledger: Ledger) -> None:
    accept_one(ledger, "a", estimate_usd=Decimal("0.1"))
    accept_one(ledger, "b", estimate_usd=Decimal("0.2"))
    with ledger.read() as tx:
        assert tx.execute(sa.select(sa.func.sum(tables.jobs.c.estimate_usd))).scalar() == Decimal("0.3")
    with pytest.raises(sa.exc.StatementError, match="finer than a millionth"):
        accept_one(ledger, "c", estimate_usd=Decimal("0.0000001"))


def test_an_attempt_without_an_outcome_is_found_by_its_job(ledger: Ledger) -> None:
    accept_one(ledger)
    drive(ledger, Event.ADMIT)
    with ledger.begin() as tx:
        begun = move(tx, "job-1", Event.BEGIN, lease_s=30)
        assert begun is not None
        attempt_id = begin_attempt(tx, begun)
    with ledger.begin() as tx:
        assert open_attempt(tx, "job-1") == attempt_id
        end_attempt(tx, attempt_id, "unknown", reason="ReadTimeout")
        assert open_attempt(tx, "job-1") is None


def test_a_block_that_raises_leaves_nothing(ledger: Ledger) -> None:
    def fail(tx: Transaction) -> None:
        accept(tx, [NEW_JOB])
        raise RuntimeError

    with pytest.raises(RuntimeError), ledger.begin() as tx:
        fail(tx)
    with ledger.read() as tx:
        assert get(tx, "job-1") is None


def test_readers_do_not_wait_for_a_writer(ledger: Ledger) -> None:
    accept_one(ledger)
    with ledger.begin() as writer:
        move(writer, "job-1", Event.ADMIT, lease_s=30)
        with ledger.read() as reader:
            seen = get(reader, "job-1")
    assert seen is not None
    assert seen.state is State.QUEUED


def test_all_queries_of_a_reader_see_one_moment(ledger: Ledger) -> None:
    accept_one(ledger)
    with ledger.read() as reader:
        before = get(reader, "job-1")
        drive(ledger, Event.ADMIT)
        assert get(reader, "job-1") == before
        assert [event.event for event in views_of(reader, ["job-1"])[0].events] == ["accept"]


def test_a_job_that_was_released_is_not_claimed_before_its_time(ledger: Ledger) -> None:
    accept_one(ledger)
    drive(ledger, Event.ADMIT, Event.BEGIN, Event.ACCEPTED, Event.COMPLETED)
    with ledger.begin() as tx:
        job = claim(tx, "job-1", State.DOWNLOADING, 60)
        assert job is not None
        release(tx, job, 300)
        assert claim(tx, "job-1", State.DOWNLOADING, 60) is None
        tx.execute(sa.update(tables.jobs).values(not_before=tx.now, lease_until=tx.now))
        assert claim(tx, "job-1", State.DOWNLOADING, 60) is not None


def test_what_the_provider_room_lets_through_fits_its_columns(ledger: Ledger) -> None:
    accept_one(ledger)
    drive(ledger, Event.ADMIT, Event.BEGIN)
    longest_id = "x" * 200
    with ledger.begin() as tx:
        moved = move(tx, "job-1", Event.ACCEPTED, lease_s=1, provider_task_id=longest_id, generating_at=tx.now)
        assert moved is not None
        price = Price(Decimal("0.28"), estimated=False)
        assert charge(tx, moved, price, discount="0." + "1" * 100, usage={}, metadata={})
        store_outputs(tx, "job-1", [Output(0, "v" * 40, "default/job-1/0.bin", 5_000_000_000, "0" * 64)])


def test_migrations_make_exactly_the_tables_of_the_code(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_a_migration_says_of_jobs_that_are_there_which_pictures_they_need(empty_database_url: str) -> None:
    ledger, name = Ledger(empty_database_url), f"{'ab' * 32}.png"
    images = {
        "job-1": [f"input:{name}:400x400"] * 2,
        "job-2": ["https://x/y.png", None],
        "job-3": [f"input:{name}:1x1"],
    }
    with ledger.engine.begin() as connection:
        config, then = _config(), sa.MetaData()
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        then.reflect(connection)
        job = {"tenant": "default", "fingerprint": "f", "model": "m", "rank": 0, "estimate_usd": 0, "state": "queued"}
        job |= {"version": 1, "tries": 0, "claimed": False, "accepted_at": NOON, "changed_at": NOON}
        for job_id, each in images.items():
            request = dict(zip(("first_frame_image", "last_frame_image"), each, strict=False))
            connection.execute(sa.insert(then.tables["jobs"]), {**job, "id": job_id, "request": request})
        paid = {"provider_task_id": "task-1", "job_id": "job-1", "tenant": "default", "model": "m", "key_alias": "a"}
        paid |= {"amount_usd": 280_000, "estimated": False, "usage": {}, "metadata": {}, "charged_at": NOON}
        connection.execute(sa.insert(then.tables["charges"]), paid)
    upgrade(ledger)
    with ledger.read() as tx:
        needed = {(row.job_id, row.name) for row in tx.execute(sa.select(tables.inputs))}
        charged = [(row.job_id, row.amount_usd) for row in tx.execute(sa.select(tables.charges))]
    ledger.close()
    assert needed == {("job-1", name), ("job-3", name)}
    assert charged == [("job-1", Decimal("0.28"))]


def test_migrating_again_changes_nothing(ledger: Ledger) -> None:
    assert upgrade(ledger) == upgrade(ledger)
    check(ledger)


def test_an_empty_database_is_refused_with_the_command_that_mends_it(empty_database_url: str) -> None:
    empty = Ledger(empty_database_url)
    with pytest.raises(SchemaMismatch, match="python -m workers migrate"):
        check(empty)
    empty.close()


def test_a_newer_schema_is_refused_and_never_taken_back(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for open_it in (check, upgrade):
        with pytest.raises(SchemaMismatch, match="deploy the version that made it"):
            open_it(ledger)


def test_errors_do_not_show_what_was_written(ledger: Ledger) -> None:
    with pytest.raises(sa.exc.StatementError) as caught, ledger.begin() as tx:
        tx.execute(sa.insert(tables.jobs).values(id="x", request={"prompt": "a canary sings"}))
    assert "canary" not in str(caught.value)
