"""What Prometheus is shown: right figures on both databases, whoever is away, to those who may see them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from prometheus_client.metrics_core import Metric

from schemas import keys
from schemas.jobs import TERMINAL, State
from tasks import context, operating, pausing
from tasks.charging import charge_task
from tasks.create import create
from tasks.domain.answers import LookAgain, Running, Throttled
from tasks.domain.budgets import Budget, Period, WhenUsedUp
from tasks.domain.pauses import Scope
from tasks.domain.transitions import OPEN
from tasks.finish import download, record
from tasks.lanes import LANES
from tasks.ledger import Ledger, LedgerError, tables
from tasks.ledger.deliveries import owe
from tasks.ledger.jobs import get
from tasks.ledger.money import settle_later
from tasks.ledger.provider_keys import pause, set_key
from tasks.ledger.spending import set_budget
from tasks.media.folderstore import FolderStore
from tasks.pulse import Pulse
from tasks.pulse.keys import key_pressure
from tests.support.bench import MODEL, Bench
from tests.support.doors import Door, client, new_key
from tests.support.every_way import backdate, go_every_way, send_webhooks
from tests.support.failing import away
from tests.support.receiver import receiving
from tests.support.series import of, parsed, series, shown
from tests.support.situations import FILM, FILM_BYTES, completed, failed_download, uncertain, with_policy
from workers.cli import cli
from workers.metrics import catalog
from workers.metrics.collector import Figures, text

TOKEN = "a token of metrics that nobody will ever guess".replace(" ", "-")


def charge(bench: Bench, job_id: str, then: Callable[[], None] = lambda: None) -> None:
    """Charge a generating job for its film, and do something before that is committed."""
    with bench.ctx.ledger.begin() as tx:
        job = get(tx, job_id)
        assert job is not None
        charge_task(tx, job, FILM.usage, {})
        then()


class TestForm:
    def test_everything_in_the_catalogue_is_shown_and_nothing_else(self, bench: Bench) -> None:
        families = parsed(shown(bench))
        assert {(each.name, each.documentation, each.type) for each in families.values()} == {
            (made.name, each.says, made.type) for each in catalog.ALL for made in [each.family()]
        }

    @pytest.mark.usefixtures("quick_films")
    def test_names_units_and_labels_are_as_prometheus_has_them(self, bench: Bench) -> None:
        completed(bench, bench.submit())
        bounded = {label for each in catalog.ALL for label in each.labels}
        for family in parsed(shown(bench)).values():
            assert re.fullmatch(r"reelworks_[a-z]+(_[a-z]+)*", family.name)
            assert family.documentation.endswith(".")
            for sample in family.samples:
                assert sample.name.endswith("_total") is (family.type == "counter")
                assert sample.labels.keys() <= bounded | ({"le"} if family.type == "histogram" else set())

    def test_every_series_has_a_value_from_the_start(self, bench: Bench) -> None:
        found = series(bench)
        for state in OPEN:
            assert found["reelworks_jobs", (state,)] == 0
        assert found["reelworks_database_up", ()] == found["reelworks_redis_up", ()] == 1
        assert found["reelworks_timetable_whole", ()] == 0
        bench.turn("sweep")
        assert series(bench)["reelworks_timetable_whole", ()] == 1


class TestLedger:
    def test_jobs_in_every_state_are_counted(
        self, bench: Bench, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with closing(Ledger(database_url)) as ledger:
            bench, _ = go_every_way(bench, replace(bench, ctx=replace(bench.ctx, ledger=ledger)), monkeypatch)
        uncertain(bench)
        bench.submit()
        there = Counter(row.state for row in bench.rows(tables.jobs))
        assert {State.QUEUED, State.GENERATING, State.UNCERTAIN} <= set(there)
        assert set(there) & TERMINAL
        assert of(series(bench), "reelworks_jobs") == {(state,): there[state] for state in OPEN}

    def test_how_long_the_first_has_waited_is_told_by_state_and_tenant(self, bench: Bench) -> None:
        for tenant in ("film", "film", "ads"):
            bench.submit(tenant=tenant)
        with bench.ctx.ledger.begin() as tx:
            first = tables.jobs.c.tenant == "ads"
            long_ago = tx.now.replace(year=tx.now.year - 1)
            tx.execute(sa.update(tables.jobs).where(first).values(accepted_at=long_ago))
        found = series(bench)
        assert found["reelworks_jobs_oldest_age_seconds", ("queued",)] > 300 * 86_400
        assert found["reelworks_tenant_queue_age_seconds", ("ads",)] > 300 * 86_400
        assert 0 <= found["reelworks_tenant_queue_age_seconds", ("film",)] < 600
        assert of(found, "reelworks_tenant_jobs_queued") == {("film",): 2, ("ads",): 1}

    def test_slots_and_limits_of_keys_are_told_and_whether_they_are_stopped(self, bench: Bench) -> None:
        bench.generating(tenant="film")
        uncertain(bench)
        found = series(bench)
        assert of(found, "reelworks_key_slots_used") == {("main",): 2}
        assert of(found, "reelworks_key_slots_limit") == {("main",): bench.ctx.policy.open_tasks_per_key}
        assert of(found, "reelworks_tenant_slots_used") == {("film",): 1, ("default",): 1}
        with bench.ctx.ledger.begin() as tx:
            set_key(tx, "main", open_limit=7, closed=True)
        found = series(bench)
        assert of(found, "reelworks_key_slots_limit") == {("main",): 7}
        assert of(found, "reelworks_key_stopped") == {("main",): 1}

    def test_jobs_that_wait_for_a_persons_word_are_told_from_those_that_nobody_has_stopped(self, bench: Bench) -> None:
        for tenant in ("film", "film", "ads"):
            bench.submit(tenant=tenant)

        def paused(scope: Scope, name: str = "") -> float:
            pausing.pause(bench.ctx, scope, name, by="ops")
            found = series(bench)["reelworks_jobs_paused", ()]
            pausing.resume(bench.ctx, scope, name)
            return found

        assert series(bench)["reelworks_jobs_paused", ()] == 0
        assert [paused(Scope.ALL), paused(Scope.TENANT, "film"), paused(Scope.KEY, "main")] == [3, 2, 3]
        with bench.ctx.ledger.begin() as tx:
            pause(tx, "spare", 60, "refused")
        assert paused(Scope.KEY, "main") == 0, "the provider's answers have stopped the other one"
        pausing.pause(bench.ctx, Scope.KEY, "main", by="ops")
        found = series(bench)
        assert of(found, "reelworks_key_stopped") == {("main",): 1, ("spare",): 1}
        assert of(found, "reelworks_key_paused") == {("main",): 1, ("spare",): 0}

    @pytest.mark.parametrize(("days_ago", "waits"), [(29, 0), (31, 1)])
    def test_a_key_that_was_used_lately_is_there_though_it_has_no_row(
        self, bench: Bench, days_ago: int, waits: int
    ) -> None:
        """Else a key that was closed for good would pass for the only one, and nobody would be woken any more."""
        ended = bench.generating()
        bench.submit()
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id == ended).values(state=State.COMPLETED))
            begun_at = tx.now - timedelta(days=days_ago)
            tx.execute(sa.update(tables.attempts).values(key_alias="new", begun_at=begun_at))
            set_key(tx, "old", closed=True)
        assert series(bench)["reelworks_jobs_paused", ()] == waits

    @pytest.mark.usefixtures("quick_films")
    def test_what_is_left_of_a_budget_counts_charges_and_what_is_held(self, bench: Bench) -> None:
        with bench.ctx.ledger.begin() as tx:
            set_budget(tx, Budget("film", Period.DAY, Decimal("5.00"), WhenUsedUp.WAIT))
            set_budget(tx, Budget("", Period.MONTH, Decimal("9.50"), WhenUsedUp.WAIT))
        completed(bench, bench.submit(tenant="film"))
        bench.generating(tenant="ads")
        found = series(bench)
        assert of(found, "reelworks_spent_usd") == {("day",): 0.28, ("month",): 0.28}
        assert found["reelworks_held_usd", ()] == 0.28
        assert of(found, "reelworks_budget_limit_usd") == {("day", "film"): 5.0, ("month", "*"): 9.5}
        assert of(found, "reelworks_budget_used_usd") == {("day", "film"): 0.28, ("month", "*"): 0.56}
        assert of(found, "reelworks_budget_left_usd") == {("day", "film"): 4.72, ("month", "*"): 8.94}

    def test_tenants_that_are_named_are_few(self, bench: Bench) -> None:
        with bench.ctx.ledger.begin() as tx:
            set_budget(tx, Budget("small", Period.DAY, Decimal("5.00"), WhenUsedUp.WAIT))
        bench.producer.submit_many(
            [
                {"model": "minimax_hailuo_23_t2v", "prompt": "a lake", "tenant": tenant}
                for tenant in ["small", *(f"tenant-{n}" for n in range(30)), "tenant-7", "tenant-8"]
            ]
        )
        bench.turn("accept")
        queued = of(series(bench), "reelworks_tenant_jobs_queued")
        assert len(queued) == 22
        assert queued["small",] == 1
        assert queued["tenant-7",] == queued["tenant-8",] == 2
        assert queued["other",] == 10
        assert of(series(bench), "reelworks_tenant_queue_age_seconds").keys() == queued.keys()

    def test_what_is_left_behind_is_counted(self, bench: Bench) -> None:
        job_id = bench.generating()
        assert {series(bench)[name, ()] for name in ("reelworks_jobs_lapsed", "reelworks_strays")} == {0}
        bench.lapse()
        (attempt,) = [row.id for row in bench.rows(tables.attempts) if row.job_id == job_id]
        with bench.ctx.ledger.begin() as tx:
            settle_later(tx, attempt, 60)
            for seq, state in ((1, State.GENERATING), (2, State.FAILED)):
                owe(tx, job_id, "default", seq, state, "https://callers.example")
            arrived = tables.webhooks.c.event == State.GENERATING
            tx.execute(sa.update(tables.webhooks).where(arrived).values(due_at=None, delivered_at=tx.now))
        backdate(bench, "due_at", tables.webhooks)
        found = series(bench)
        assert found["reelworks_jobs_lapsed", ()] == 1
        assert found["reelworks_strays", ()] == 1
        assert found["reelworks_deliveries_pending", ()] == 1
        assert found["reelworks_deliveries_late_seconds", ()] >= 3600


class TestCounted:
    @pytest.mark.usefixtures("quick_films")
    def test_the_way_of_a_job_is_counted_to_its_charge(self, bench: Bench) -> None:
        job_id = bench.generating()
        bench.provider.polls += [Running(0.5), replace(FILM, took_s=0.0)]
        bench.look()
        bench.look()
        download(job_id)
        record(job_id)
        found = series(bench)
        assert of(found, "reelworks_provider_requests_total") == {
            ("create", "main", "accepted"): 1,
            ("poll", "main", "running"): 1,
            ("poll", "main", "completed"): 1,
        }
        assert of(found, "reelworks_provider_request_seconds_count") == {("create",): 1, ("poll",): 2}
        assert found["reelworks_poll_late_seconds_count", ()] == 2
        for name in ("reelworks_detection_lag_seconds", "reelworks_generation_seconds"):
            assert of(found, f"{name}_count") == {(MODEL,): 1}
        assert found["reelworks_generation_seconds_sum", (MODEL,)] == 0
        assert 0 < found["reelworks_detection_lag_seconds_sum", (MODEL,)] < 60
        assert of(found, "reelworks_downloads_total") == {("stored",): 1}
        assert found["reelworks_download_bytes_total", ()] == len(FILM_BYTES)
        assert found["reelworks_download_seconds_count", ()] == 1
        assert of(found, "reelworks_charged_usd_total") == {("false", "main", MODEL): 0.28}
        assert of(found, "reelworks_charges_total") == {("false", "main", MODEL): 1}
        assert of(found, "reelworks_jobs_ended_total") == {(MODEL, "completed"): 1}

    def test_a_429_is_told_from_other_answers(self, bench: Bench) -> None:
        bench.generating()  # before the key is throttled: its next create would come ten seconds later
        bench.provider.creates.append(Throttled(0.0))
        create(bench.admitted())
        for answer in (LookAgain("HTTP 429", throttled=True), LookAgain("HTTP 503"), LookAgain("ReadTimeout")):
            bench.ctx.pulse.redis.delete(key_pressure("main"))
            bench.ctx.pulse.pressure._read.clear()
            bench.provider.polls.append(answer)
            bench.look()
        requests = of(series(bench), "reelworks_provider_requests_total")
        assert requests["create", "main", "throttled"] == 1
        assert {labels[2] for labels in requests if labels[0] == "poll"} == {"throttled", "http_5xx", "no_answer"}

    def test_an_end_that_is_shown_again_is_counted_once(self, bench: Bench) -> None:
        job_id = bench.submit()
        operating.cancel(bench.ctx, job_id)
        bench.ctx.show([job_id])
        bench.ctx.pulse.redis.delete(keys.view(job_id))
        bench.ctx.show([job_id])  # as after a wipe
        assert of(series(bench), "reelworks_jobs_ended_total") == {(MODEL, "cancelled"): 1}

    def test_a_charge_that_is_not_committed_is_not_counted(self, bench: Bench) -> None:
        job_id = bench.generating()
        with pytest.raises(LedgerError):
            charge(bench, job_id, then=away)
        bench.ctx.show([job_id])
        assert of(series(bench), "reelworks_charges_total") == {}

    def test_a_charge_that_is_written_again_is_counted_once(self, bench: Bench) -> None:
        job_id = bench.generating()
        for _ in range(2):
            charge(bench, job_id)
        bench.ctx.show([job_id])
        assert of(series(bench), "reelworks_charged_usd_total") == {("false", "main", MODEL): 0.28}

    def test_a_download_that_fails_is_counted_by_why(self, bench: Bench) -> None:
        failed_download(bench)
        downloads = of(series(bench), "reelworks_downloads_total")
        assert downloads.keys() == {("interrupted",)}
        assert downloads["interrupted",] > 1
        assert of(series(bench), "reelworks_jobs_ended_total") == {(MODEL, "failed"): 1}

    def test_work_that_a_full_disk_leaves_is_counted_from_nothing_on(self, bench: Bench) -> None:
        left = {("accept",): 0.0, ("create",): 0.0, ("download",): 0.0}
        assert of(series(bench), "reelworks_disk_low_total") == left
        admitted, fetched = bench.admitted(), bench.generating()
        bench.provider.polls.append(FILM)
        bench.look()
        full = with_policy(bench, disk_low_bytes=2**60)
        full = replace(full, ctx=replace(full.ctx, store=FolderStore(bench.folder / "store", low_bytes=2**60)))
        context.install(lambda: full.ctx)
        create(admitted)
        download(fetched)
        full.turn("accept")
        assert of(series(full), "reelworks_disk_low_total") == dict.fromkeys(left, 1.0)
        assert series(full)["reelworks_store_low_bytes", ()] == 2**60
        assert 0 < series(full)["reelworks_store_free_bytes", ()] < 2**60

    def test_what_comes_of_webhooks_is_counted_from_nothing_on(self, bench: Bench) -> None:
        assert set(of(series(bench), "reelworks_deliveries_total").values()) == {0}
        with receiving() as receiver:
            receiver.answers += [204, 410, 500]
            for _ in range(3):
                bench.generating(callback_url=f"{receiver.url}/told")
                send_webhooks(bench)
        found = of(series(bench), "reelworks_deliveries_total")
        assert found == {("arrived",): 1, ("gone",): 1, ("put_off",): 1, ("dead",): 0}

    def test_many_looks_are_counted_in_one_go(self, bench: Bench) -> None:
        bench = with_policy(bench, open_tasks_per_key=20)
        for _ in range(12):
            bench.generating()
        redis = bench.ctx.pulse.redis
        bench.ctx.pulse.tally.send()
        redis.config_resetstat()
        bench.look()
        bench.ctx.pulse.tally.send()
        assert len(bench.provider.polled) == 12
        commands: Any = redis.info("commandstats")
        # A field a kind of answer; of latency and lateness one a bucket, and the sum.
        assert 0 < commands["cmdstat_hincrby"]["calls"] <= 12


class TestRedis:
    def test_what_waits_in_it_is_counted(self, bench: Bench) -> None:
        bench.enter({"job": "job-1", "request": "{}"})
        bench.ctx.pulse.redis.lpush("create", "{}", "{}")
        found = series(bench)
        assert of(found, "reelworks_intake_entries") == {("requests",): 1, ("commands",): 0}
        assert found["reelworks_queue_messages", ("create",)] == 2
        assert found["reelworks_intake_oldest_age_seconds", ("commands",)] == 0
        bench.ctx.pulse.redis.xadd("reelworks:commands", {"command": "cancel"}, id="1-1")
        assert series(bench)["reelworks_intake_oldest_age_seconds", ("commands",)] > 86_400

    def test_answers_that_wait_on_disks_are_added_up_over_machines(self, bench: Bench) -> None:
        spools = bench.ctx.pulse.spools
        assert series(bench)["reelworks_spool_entries", ()] == 0
        spools.tell("first", 2)
        spools.tell("second", 1)
        assert series(bench)["reelworks_spool_entries", ()] == 3
        spools.tell("first", 0)
        assert series(bench)["reelworks_spool_entries", ()] == 1

    def test_how_late_looks_are_is_told(self, bench: Bench) -> None:
        job_id = bench.generating()
        redis = bench.ctx.pulse.redis
        redis.zadd("reelworks:timetable", {job_id: redis.time()[0] + 600})
        found = series(bench)
        assert (found["reelworks_timetable_jobs", ()], found["reelworks_timetable_late_seconds", ()]) == (1, 0)
        redis.zadd("reelworks:timetable", {job_id: redis.time()[0] - 600})
        assert 600 <= series(bench)["reelworks_timetable_late_seconds", ()] < 1200

    def test_a_lane_that_has_fallen_silent_is_down(self, bench: Bench) -> None:
        assert of(series(bench), "reelworks_lane_up") == {(lane,): 0 for lane in LANES}
        epoch = bench.ctx.pulse.lanes.seed("poll", bench.ctx.policy.lane_ttl_s)
        assert of(series(bench), "reelworks_lane_up") == {(lane,): 0 for lane in LANES}, "nobody has taken a turn yet"
        assert epoch is not None
        assert bench.ctx.pulse.lanes.renew("poll", epoch, bench.ctx.policy.lane_ttl_s)
        found = series(bench)
        assert {lane for (lane,), up in of(found, "reelworks_lane_up").items() if up} == {"poll"}
        assert of(found, "reelworks_lane_silent_seconds").keys() == {("poll",)}
        assert found["reelworks_lane_silent_seconds", ("poll",)] < bench.ctx.policy.lane_ttl_s


class TestAway:
    @pytest.fixture
    def door(self, bench: Bench) -> Door:
        return Door(client(metrics_token=TOKEN), TOKEN)

    def read(self, door: Door) -> dict[str, Metric]:
        answer = door.get("/metrics")
        assert answer.status_code == 200
        return parsed(answer.get_data(as_text=True))

    def test_without_redis_the_ledger_is_shown(self, bench: Bench, door: Door) -> None:
        bench.submit()
        with closing(Pulse("redis://127.0.0.1:1/0", timeout_s=0.5)) as gone:
            without = replace(bench.ctx, pulse=gone)
            context.install(lambda: without)
            found = self.read(door)
        assert found["reelworks_redis_up"].samples[0].value == 0
        assert found["reelworks_database_up"].samples[0].value == 1
        assert not {"reelworks_lane_up", "reelworks_timetable_jobs", "reelworks_queue_messages"} & found.keys()
        assert sum(each.value for each in found["reelworks_jobs"].samples) == 1

    def test_without_the_database_redis_is_shown(self, bench: Bench, door: Door) -> None:
        with closing(Ledger("postgresql+psycopg://127.0.0.1:1/none")) as gone:
            without = replace(bench.ctx, ledger=gone)
            context.install(lambda: without)
            found = self.read(door)
        assert found["reelworks_database_up"].samples[0].value == 0
        assert found["reelworks_redis_up"].samples[0].value == 1
        assert not {"reelworks_jobs", "reelworks_spent_usd", "reelworks_strays"} & found.keys()
        assert "reelworks_lane_up" in found


class TestWhoMaySee:
    def test_nobody_while_no_token_is_set(self, bench: Bench) -> None:
        for key in (None, TOKEN, new_key(bench.ctx.ledger)):
            answer = Door(client(), key).get("/metrics")
            assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")
            assert "REELWORKS_METRICS_TOKEN" in answer.get_json()["detail"]

    def test_only_who_has_the_token(self, bench: Bench) -> None:
        opened = client(metrics_token=TOKEN)
        for key in (None, "", TOKEN[:-1], TOKEN + "x", "\u00e4", new_key(bench.ctx.ledger)):
            answer = Door(opened, key).get("/metrics")
            assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthorized")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert Door(opened).get("/metrics", headers={"Authorization": f"Basic {TOKEN}"}).status_code == 401
        answer = Door(opened, TOKEN).get("/metrics")
        assert answer.status_code == 200
        assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"

    def test_the_token_opens_nothing_else(self, bench: Bench) -> None:
        assert Door(client(metrics_token=TOKEN), TOKEN).get("/v1/jobs").status_code == 401


def test_all_who_scrape_at_a_time_share_one_reading(bench: Bench) -> None:
    read: list[Any] = []
    sa.event.listen(bench.ctx.ledger.engine, "before_cursor_execute", lambda *_: read.append(1))
    figures = Figures(lambda: bench.ctx)
    first = text(figures)
    once = len(read)
    assert once > 0
    assert [text(figures) for _ in range(5)] == [first] * 5
    assert len(read) == once


def test_the_command_line_prints_the_same(
    bench: Bench, redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.generating()
    monkeypatch.setenv("REELWORKS_DATABASE_URL", database_url)
    monkeypatch.setenv("REELWORKS_VAR", str(bench.folder / "var"))
    printed = CliRunner().invoke(cli, ["metrics"])
    assert printed.exit_code == 0, printed.output
    names = parsed(printed.stdout)
    assert names.keys() == parsed(shown(bench)).keys()
    assert 'reelworks_jobs{state="generating"} 1.0' in printed.stdout.splitlines()
