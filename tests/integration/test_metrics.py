"""What Prometheus is shown: right figures on both databases, whoever is away, to those who may see them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from schemas.jobs import TERMINAL, State
from tasks import context
from tasks.domain.budgets import Budget, Period, WhenUsedUp
from tasks.domain.transitions import OPEN
from tasks.lanes import LANES
from tasks.ledger import Ledger, tables
from tasks.ledger.money import settle_later
from tasks.ledger.provider_keys import set_key
from tasks.ledger.spending import set_budget
from tasks.pulse import Pulse
from tests.support.bench import Bench
from tests.support.doors import Door, client, new_key
from tests.support.every_way import backdate, go_every_way
from tests.support.situations import completed, uncertain
from workers.cli import cli
from workers.metrics import catalog, collector
from workers.metrics.collector import Figures, text

TOKEN = "a token of metrics that nobody will ever guess".replace(" ", "-")

Series = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def watched(bench: Bench) -> Iterator[Bench]:
    """The steps on servers of which somebody reads the figures, each time anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collector, "KEPT_S", 0.0)
        yield bench


def shown(bench: Bench) -> str:
    return text(Figures(lambda: bench.ctx))


def parsed(exposed: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(exposed)}


def series(bench: Bench) -> Series:
    """Every sample by its name and the values of its labels, in the order of their names."""
    samples = [each for family in parsed(shown(bench)).values() for each in family.samples]
    return {(each.name, tuple(value for _, value in sorted(each.labels.items()))): each.value for each in samples}


def of(found: Series, name: str) -> dict[tuple[str, ...], float]:
    return {labels: value for (each, labels), value in found.items() if each == name}


class TestForm:
    def test_everything_in_the_catalogue_is_shown_and_nothing_else(self, watched: Bench) -> None:
        families = parsed(shown(watched))
        assert list(families) == [
            catalog.DATABASE_UP.name,
            *(each for each in families if each != "reelworks_database_up"),
        ]
        assert {(each.name, each.documentation, each.type) for each in families.values()} == {
            (each.name, each.says, "gauge") for each in catalog.GAUGES
        }

    def test_names_and_units_are_as_prometheus_has_them(self, watched: Bench) -> None:
        for family in parsed(shown(watched)).values():
            assert re.fullmatch(r"reelworks_[a-z]+(_[a-z]+)*", family.name)
            assert not re.search(r"_(ms|millis|minutes|kb|mb|percent|cents|total)$", family.name), family.name
            assert family.documentation.endswith(".")
            if re.search(r"_(age|late|silent)", family.name):
                assert family.name.endswith("_seconds")

    def test_every_series_has_a_value_from_the_start(self, watched: Bench) -> None:
        found = series(watched)
        for state in OPEN:
            assert found["reelworks_jobs", (state,)] == 0
        assert found["reelworks_database_up", ()] == found["reelworks_redis_up", ()] == 1
        assert found["reelworks_timetable_whole", ()] == 0
        watched.turn("sweep")
        assert series(watched)["reelworks_timetable_whole", ()] == 1


class TestLedger:
    def test_jobs_in_every_state_are_counted(
        self, watched: Bench, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with closing(Ledger(database_url)) as ledger:
            watched, _ = go_every_way(watched, replace(watched, ctx=replace(watched.ctx, ledger=ledger)), monkeypatch)
        uncertain(watched)
        watched.submit()
        there = Counter(row.state for row in watched.rows(tables.jobs))
        assert {State.QUEUED, State.GENERATING, State.UNCERTAIN} <= set(there)
        assert set(there) & TERMINAL
        assert of(series(watched), "reelworks_jobs") == {(state,): there[state] for state in OPEN}

    def test_how_long_the_first_has_waited_is_told_by_state_and_tenant(self, watched: Bench) -> None:
        for tenant in ("film", "film", "ads"):
            watched.submit(tenant=tenant)
        with watched.ctx.ledger.begin() as tx:
            first = tables.jobs.c.tenant == "ads"
            long_ago = tx.now.replace(year=tx.now.year - 1)
            tx.execute(sa.update(tables.jobs).where(first).values(accepted_at=long_ago))
        found = series(watched)
        assert found["reelworks_jobs_oldest_age_seconds", ("queued",)] > 300 * 86_400
        assert found["reelworks_tenant_queue_age_seconds", ("ads",)] > 300 * 86_400
        assert 0 <= found["reelworks_tenant_queue_age_seconds", ("film",)] < 600
        assert of(found, "reelworks_tenant_jobs_queued") == {("film",): 2, ("ads",): 1}

    def test_slots_and_limits_of_keys_are_told_and_whether_they_are_stopped(self, watched: Bench) -> None:
        watched.generating(tenant="film")
        uncertain(watched)
        found = series(watched)
        assert of(found, "reelworks_key_slots_used") == {("main",): 2}
        assert of(found, "reelworks_key_slots_limit") == {("main",): watched.ctx.policy.open_tasks_per_key}
        assert of(found, "reelworks_tenant_slots_used") == {("film",): 1, ("default",): 1}
        with watched.ctx.ledger.begin() as tx:
            set_key(tx, "main", open_limit=7, closed=True)
        found = series(watched)
        assert of(found, "reelworks_key_slots_limit") == {("main",): 7}
        assert of(found, "reelworks_key_stopped") == {("main",): 1}

    @pytest.mark.usefixtures("quick_films")
    def test_what_is_left_of_a_budget_counts_charges_and_what_is_held(self, watched: Bench) -> None:
        with watched.ctx.ledger.begin() as tx:
            set_budget(tx, Budget("film", Period.DAY, Decimal("5.00"), WhenUsedUp.WAIT))
            set_budget(tx, Budget("", Period.MONTH, Decimal("9.50"), WhenUsedUp.WAIT))
        completed(watched, watched.submit(tenant="film"))
        watched.generating(tenant="ads")
        found = series(watched)
        assert of(found, "reelworks_spent_usd") == {("day",): 0.28, ("month",): 0.28}
        assert found["reelworks_held_usd", ()] == 0.28
        assert of(found, "reelworks_budget_limit_usd") == {("day", "film"): 5.0, ("month", "*"): 9.5}
        assert of(found, "reelworks_budget_used_usd") == {("day", "film"): 0.28, ("month", "*"): 0.56}
        assert of(found, "reelworks_budget_left_usd") == {("day", "film"): 4.72, ("month", "*"): 8.94}

    def test_tenants_that_are_named_are_few(self, watched: Bench) -> None:
        with watched.ctx.ledger.begin() as tx:
            set_budget(tx, Budget("small", Period.DAY, Decimal("5.00"), WhenUsedUp.WAIT))
        watched.producer.submit_many(
            [
                {"model": "minimax_hailuo_23_t2v", "prompt": "a lake", "tenant": tenant}
                for tenant in ["small", *(f"tenant-{n}" for n in range(30)), "tenant-7", "tenant-8"]
            ]
        )
        watched.turn("accept")
        queued = of(series(watched), "reelworks_tenant_jobs_queued")
        assert len(queued) == 22
        assert queued["small",] == 1
        assert queued["tenant-7",] == queued["tenant-8",] == 2
        assert queued["other",] == 10
        assert of(series(watched), "reelworks_tenant_queue_age_seconds").keys() == queued.keys()

    def test_what_is_left_behind_is_counted(self, watched: Bench) -> None:
        job_id = watched.generating()
        assert {series(watched)[name, ()] for name in ("reelworks_jobs_lapsed", "reelworks_strays")} == {0}
        watched.lapse()
        (attempt,) = [row.id for row in watched.rows(tables.attempts) if row.job_id == job_id]
        with watched.ctx.ledger.begin() as tx:
            settle_later(tx, attempt, 60)
            told = {"job_id": job_id, "url": "https://callers.example", "tries": 0}
            tx.execute(
                sa.insert(tables.deliveries),
                [
                    {"id": "1", "event": "completed", "due_at": tx.now, "delivered_at": None, **told},
                    {"id": "2", "event": "failed", "due_at": None, "delivered_at": tx.now, **told},
                ],
            )
        backdate(watched, "due_at", tables.deliveries)
        found = series(watched)
        assert found["reelworks_jobs_lapsed", ()] == 1
        assert found["reelworks_strays", ()] == 1
        assert found["reelworks_deliveries_pending", ()] == 1
        assert found["reelworks_deliveries_late_seconds", ()] >= 3600


class TestRedis:
    def test_what_waits_in_it_is_counted(self, watched: Bench) -> None:
        watched.enter({"job": "job-1", "request": "{}"})
        watched.ctx.pulse.redis.lpush("create", "{}", "{}")
        found = series(watched)
        assert of(found, "reelworks_intake_entries") == {("requests",): 1, ("commands",): 0}
        assert found["reelworks_queue_messages", ("create",)] == 2
        assert found["reelworks_intake_oldest_age_seconds", ("commands",)] == 0
        watched.ctx.pulse.redis.xadd("reelworks:commands", {"command": "cancel"}, id="1-1")
        assert series(watched)["reelworks_intake_oldest_age_seconds", ("commands",)] > 86_400

    def test_how_late_looks_are_is_told(self, watched: Bench) -> None:
        job_id = watched.generating()
        redis = watched.ctx.pulse.redis
        redis.zadd("reelworks:timetable", {job_id: redis.time()[0] + 600})
        found = series(watched)
        assert (found["reelworks_timetable_jobs", ()], found["reelworks_timetable_late_seconds", ()]) == (1, 0)
        redis.zadd("reelworks:timetable", {job_id: redis.time()[0] - 600})
        assert 600 <= series(watched)["reelworks_timetable_late_seconds", ()] < 1200

    def test_a_lane_that_has_fallen_silent_is_down(self, watched: Bench) -> None:
        assert of(series(watched), "reelworks_lane_up") == {(lane,): 0 for lane in LANES}
        watched.ctx.pulse.lanes.seed("poll", watched.ctx.policy.lane_ttl_s)
        found = series(watched)
        assert {lane for (lane,), up in of(found, "reelworks_lane_up").items() if up} == {"poll"}
        assert of(found, "reelworks_lane_silent_seconds").keys() == {("poll",)}
        assert found["reelworks_lane_silent_seconds", ("poll",)] < watched.ctx.policy.lane_ttl_s


class TestAway:
    @pytest.fixture
    def door(self, watched: Bench) -> Door:
        return Door(client(metrics_token=TOKEN), TOKEN)

    def read(self, door: Door) -> dict[str, Metric]:
        answer = door.get("/metrics")
        assert answer.status_code == 200
        return parsed(answer.get_data(as_text=True))

    def test_without_redis_the_ledger_is_shown(self, watched: Bench, door: Door) -> None:
        watched.submit()
        with closing(Pulse("redis://127.0.0.1:1/0", timeout_s=0.5)) as gone:
            away = replace(watched.ctx, pulse=gone)
            context.install(lambda: away)
            found = self.read(door)
        assert found["reelworks_redis_up"].samples[0].value == 0
        assert found["reelworks_database_up"].samples[0].value == 1
        assert not {"reelworks_lane_up", "reelworks_timetable_jobs", "reelworks_queue_messages"} & found.keys()
        assert sum(each.value for each in found["reelworks_jobs"].samples) == 1

    def test_without_the_database_redis_is_shown(self, watched: Bench, door: Door) -> None:
        with closing(Ledger("postgresql+psycopg://127.0.0.1:1/none")) as gone:
            away = replace(watched.ctx, ledger=gone)
            context.install(lambda: away)
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
    bench: Bench, redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch, logging_as_it_was: None
) -> None:
    bench.generating()
    monkeypatch.setenv("REELWORKS_DATABASE_URL", database_url)
    monkeypatch.setenv("REELWORKS_VAR", str(bench.folder / "var"))
    printed = CliRunner().invoke(cli, ["metrics"])
    assert printed.exit_code == 0, printed.output
    names = parsed(printed.stdout)
    assert names.keys() == parsed(shown(bench)).keys()
    assert 'reelworks_jobs{state="generating"} 1.0' in printed.stdout.splitlines()
