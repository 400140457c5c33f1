"""The poll lane learns how long tasks take, and looks by it; and slows down where the provider wants it to."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from schemas.jobs import State
from schemas.keys import LOOKS, TIMETABLE
from tasks.create import create
from tasks.domain.answers import LookAgain, Running, Throttled
from tasks.domain.knowledge import Kind, Known, Seen
from tasks.domain.polling import PollPolicy
from tasks.domain.sketch import Sketch
from tasks.ledger import tables
from tasks.ledger.timings import latest_ended
from tasks.pulse import Pulse, PulseError, keys, timings
from tasks.pulse.timetable import Entry, NextLook
from tasks.schedule import seed
from tests.support.bench import DONE, MODEL, Bench
from tests.support.situations import FILM, downloading
from tests.support.waiting import wait_until

KIND = Kind(MODEL, "768P", 6, 13)
BOUNDS = PollPolicy().bounds()
BORN = datetime(2026, 11, 1, 13, 0, tzinfo=UTC)


def sketch(pulse: Pulse, name: str) -> Sketch:
    text = pulse.redis.hget(keys.times(MODEL), name)
    assert text is None or isinstance(text, bytes)
    return Sketch.from_json(text)


def known_now(pulse: Pulse) -> Known:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timings, "_READ_EVERY_S", 0.0)
        return pulse.timings.known(KIND, BOUNDS)


class TestTimings:
    def test_redis_learns_what_the_domain_would_have(self, pulse: Pulse) -> None:
        times_s = [20.0] * 40 + [60.0] * 5 + [20.0, 5.0, 5.0, 5.0, 7.0]
        expected = Sketch()
        for took_s in times_s:
            known = known_now(pulse)
            deposits = known.deposits([Seen.between(took_s * 0.9, took_s, None, None)])
            pulse.timings.learn(MODEL, deposits)
            expected = expected.with_one(dict(deposits)[KIND.names[1]])
        learned = sketch(pulse, KIND.names[1])
        assert (learned.learned, learned.streak) == (expected.learned, expected.streak)
        assert learned.weights == pytest.approx(expected.weights, abs=0.01)
        assert sketch(pulse, KIND.names[0]) == sketch(pulse, KIND.names[2]) == learned

    def test_what_can_not_be_read_is_begun_anew(self, pulse: Pulse) -> None:
        for odd in ("x", "[]", '{"w":{"a":"b","150":"c"},"n":"d"}'):
            pulse.redis.hset(keys.times(MODEL), KIND.names[1], odd)
            known = known_now(pulse)
            pulse.timings.learn(MODEL, known.deposits([Seen.between(19, 20, None, None)]))
            assert sketch(pulse, KIND.names[1]).total == pytest.approx(1, abs=0.01)

    def test_plans_are_kept_while_nothing_was_learned_and_a_process_reads_seldom(self, pulse: Pulse) -> None:
        first = pulse.timings.known(KIND, BOUNDS)
        assert known_now(pulse) is first
        pulse.timings.learn(MODEL, first.deposits([Seen.between(19, 20, None, None)]))
        assert pulse.timings.known(KIND, BOUNDS) is first
        assert known_now(pulse) is not first

    def test_what_was_learned_since_is_not_overwritten_by_a_seed(self, pulse: Pulse) -> None:
        pulse.timings.seed(MODEL, {"any": Sketch({1: 1.0}, 1)})
        pulse.timings.seed(MODEL, {"any": Sketch({2: 1.0}, 1), "768P/6": Sketch({3: 1.0}, 1)})
        assert sketch(pulse, "any").weights == {1: 1.0}
        assert sketch(pulse, "768P/6").weights == {3: 1.0}


class TestTimetable:
    def test_a_look_knows_its_kind_and_what_the_last_one_found(self, pulse: Pulse) -> None:
        pulse.timetable.schedule([Entry("a", 0, "task-a", "main", BORN, KIND)])
        (due,), _ = pulse.timetable.claim_due(30, 10)
        assert (due.kind, due.noted.looked_s, due.noted.progress_then) == (KIND, 0.0, None)
        pulse.timetable.put_back([NextLook(due, 0, 0.25, looked_s=17.5)])
        (due,), _ = pulse.timetable.claim_due(30, 10)
        pulse.timetable.put_back([NextLook(due, 0, misses=1)])  # said nothing: what the one before found still counts
        (due,), _ = pulse.timetable.claim_due(30, 10)
        assert (due.noted.looked_s, due.noted.progress_then, due.noted.polls, due.noted.misses) == (17.5, 0.25, 2, 1)

    def test_what_nobody_looked_at_is_put_back_as_it_was(self, pulse: Pulse) -> None:
        pulse.timetable.schedule([Entry("a", 0, "task-a", "main", BORN, KIND)])
        (due,), _ = pulse.timetable.claim_due(30, 10)
        pulse.timetable.put_back([NextLook(due, 0, 0.25, misses=2, missing=True, looked_s=3.0)])
        (before,), _ = pulse.timetable.claim_due(30, 10)
        pulse.timetable.put_back([NextLook(before, 0, counted=False)])
        (after,), _ = pulse.timetable.claim_due(30, 10)
        assert after.missing_s is not None
        assert after.noted == before.noted


class TestPressure:
    def test_each_429_doubles_the_delays_up_to_a_limit_and_it_ends_by_itself(self, pulse: Pulse) -> None:
        assert pulse.pressure.of("main").slowed == 1
        found = []
        for _ in range(5):
            pulse.pressure.slow("main")
            found.append(pulse.pressure.of("main").slowed)
        assert found == pytest.approx([2, 4, 8, 8, 8], rel=0.1)
        assert pulse.pressure.of("other").slowed == 1
        assert 0 < pulse.redis.ttl(keys.key_pressure("main")) <= 92

    def test_a_rest_is_kept_by_all_processes(self, pulse: Pulse) -> None:
        pulse.pressure.slow("main", 40)
        pulse.pressure.slow("main", 5)  # the longer one counts
        other = Pulse(f"redis://{_address(pulse)}")
        assert other.pressure.of("main").rest_s == pytest.approx(40, abs=2)
        other.close()


def _address(pulse: Pulse) -> str:
    given = pulse.redis.connection_pool.connection_kwargs
    return f"{given['host']}:{given['port']}/{given.get('db', 0)}"


def look_in_time(bench: Bench) -> None:
    """Have every generating job looked at now, as if that had been planned: `Bench.look` is late by an age.

    "Now" is once they are old enough for their progress to tell something.
    """
    redis = bench.ctx.pulse.redis
    begun = [row.generating_at for row in bench.rows(tables.jobs) if row.generating_at is not None]
    wait_until(lambda: datetime.now(UTC) - max(begun) > timedelta(seconds=0.02), what="tasks of some age")
    now_s = redis.time()[0]
    redis.zadd(TIMETABLE, dict.fromkeys(redis.zrange(TIMETABLE, 0, -1), now_s), xx=True)
    bench.turn("poll")


class TestLane:
    def test_a_completion_is_learned_from(self, bench: Bench) -> None:
        bench.generating()
        bench.provider.polls = [FILM]
        look_in_time(bench)
        assert bench.ctx.pulse.redis.hlen(keys.times(MODEL)) == 3
        assert sketch(bench.ctx.pulse, "any").total == pytest.approx(1, abs=0.01)

    def test_the_providers_stamps_and_its_progress_are_learned_from_too(self, bench: Bench) -> None:
        bench.generating()
        bench.provider.polls = [Running(0.5), replace(FILM, took_s=0.2)]
        look_in_time(bench)
        look_in_time(bench)
        assert sketch(bench.ctx.pulse, "progress").learned == 1
        moments = [row for row in bench.rows(tables.timeline) if row.event == "completed"]
        assert (moments[0].detail["took_s"], moments[0].detail["progress"]) == (0.2, 0.5)

    def test_a_look_that_followed_on_silence_teaches_nothing(self, bench: Bench) -> None:
        bench.generating()
        bench.provider.polls = [LookAgain("ReadTimeout"), FILM]
        look_in_time(bench)
        look_in_time(bench)
        assert not bench.ctx.pulse.redis.exists(keys.times(MODEL))

    def test_a_look_that_came_late_itself_teaches_nothing(self, bench: Bench) -> None:
        downloading(bench)
        assert not bench.ctx.pulse.redis.exists(keys.times(MODEL))

    def test_once_learned_looks_are_placed_by_it(self, bench: Bench) -> None:
        bench.ctx.pulse.timings.seed(MODEL, {"any": _twenty()})
        job_id = bench.generating()
        score = bench.ctx.pulse.redis.zscore(TIMETABLE, job_id)
        assert score is not None
        assert float(score) - datetime.now(UTC).timestamp() == pytest.approx(20, abs=3)

    def test_where_nothing_can_be_learned_the_fixed_schedule_holds(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: Any, **__: Any) -> Any:
            raise PulseError

        monkeypatch.setattr(type(bench.ctx.pulse.timings), "learn", broken)
        job_id = bench.generating()
        bench.provider.polls = [Running(0.5), LookAgain("HTTP 429", throttled=True), DONE]

        def is_downloading() -> bool:
            bench.look()  # of a key that was told to slow down perhaps none, for a moment
            return bench.state(job_id) is State.DOWNLOADING

        wait_until(is_downloading, what="the task's end")
        assert bench.provider.polls == []
        assert not bench.ctx.pulse.redis.exists(keys.times(MODEL))


def _twenty() -> Sketch:
    made = Sketch()
    for _ in range(30):
        made = made.with_one({149: 1.0})
    return made


class TestSeed:
    def test_a_wiped_redis_learns_anew_from_the_jobs_that_ended_last(self, bench: Bench) -> None:
        job_id = downloading(bench)
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(state=State.COMPLETED))
            born = tx.now - timedelta(seconds=20)
            tx.execute(sa.update(tables.jobs).values(generating_at=born))
            tx.execute(
                sa.update(tables.timeline)
                .where(tables.timeline.c.job_id == job_id, tables.timeline.c.event == "completed")
                .values(at=born + timedelta(seconds=20), detail={"polls": 2, "looked_s": 18.0})
            )
        bench.ctx.pulse.redis.flushdb()
        bench.turn("accept")  # makes the consumer group again
        bench.turn("sweep")
        learned = sketch(bench.ctx.pulse, "any")
        assert learned.learned == 1
        assert learned.quantiles(1) == pytest.approx([18, 20], rel=0.05)

    def test_a_moment_of_the_version_before_is_enough(self, bench: Bench) -> None:
        job_id = downloading(bench)
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(state=State.COMPLETED))
            tx.execute(sa.update(tables.timeline).where(tables.timeline.c.job_id == job_id).values(detail={"polls": 2}))
        with bench.ctx.ledger.read() as tx:
            (ended,) = latest_ended(tx, 10)
        assert (ended.kind.model, ended.seen.looked_s, ended.seen.progress) == (MODEL, 0.0, None)
        seed(bench.ctx)

    def test_the_query_walks_an_index_from_the_latest_on(self, bench: Bench) -> None:
        engine = bench.ctx.ledger.engine
        asked: list[tuple[str, Any]] = []
        sa.event.listen(engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
        with bench.ctx.ledger.read() as tx:
            latest_ended(tx, 10)
        statement, parameters = next(each for each in asked if "timeline" in each[0])
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql("SET enable_seqscan = off")  # of so few rows it would read all
                connection.exec_driver_sql("SET enable_bitmapscan = off")
            explain = "EXPLAIN" if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
            plan = "\n".join(map(str, connection.exec_driver_sql(f"{explain} {statement}", parameters)))
        assert "ix_jobs_changed_at" in plan
        assert "SCAN" not in plan.upper().replace("INDEX SCAN", "")
        assert "TEMP B-TREE" not in plan


class TestThrottled:
    def test_a_429_slows_all_looks_of_the_key_down_and_the_rest_asked_for_is_kept(self, bench: Bench) -> None:
        first, second = bench.generating(), bench.generating()
        bench.provider.polls = [LookAgain("HTTP 429", 30.0, throttled=True), Running(None)]
        bench.look()
        assert len(bench.provider.polled) == 2
        assert bench.ctx.pulse.pressure.of("main").slowed == pytest.approx(2, rel=0.1)
        bench.look()
        assert len(bench.provider.polled) == 2, "the provider wanted to hear nothing for a while"
        for job_id in (first, second):
            score = bench.ctx.pulse.redis.zscore(TIMETABLE, job_id)
            assert score is not None
            assert float(score) - datetime.now(UTC).timestamp() > 25
            assert json.loads(bench.ctx.pulse.redis.hget(LOOKS, job_id) or "")[0] == 1

    def test_one_answer_does_not_silence_a_key_for_an_hour(self, bench: Bench) -> None:
        bench.generating()
        bench.provider.polls = [LookAgain("HTTP 429", 3600.0, throttled=True)]
        bench.look()
        rest_s = bench.ctx.pulse.pressure.of("main").rest_s
        assert 0 < rest_s <= bench.ctx.policy.poll.overdue_interval_s + 0.001  # as Redis rounds instants

    def test_creates_go_first_a_throttled_one_slows_the_looks_down(self, bench: Bench) -> None:
        job_id = bench.submit()
        bench.turn("admit")
        bench.provider.creates.append(Throttled(0.01))
        create(job_id)
        pressure = bench.ctx.pulse.pressure.of("main")
        assert pressure.slowed == pytest.approx(2, rel=0.1)
        assert pressure.rest_s == 0
