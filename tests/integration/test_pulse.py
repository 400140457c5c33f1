"""What the workers keep in Redis, on a real server: leases, lanes, intake, views."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from celery import Celery

from schemas import keys as shared
from schemas.jobs import JobEvent, JobView, State
from schemas.records import decode_record
from tasks.pulse import Pulse, PulseError, keys
from tasks.pulse.timetable import Due, Entry, NextLook
from tests.support.proxy import Fault, FaultProxy
from tests.support.valkey import valkey_server
from tests.support.waiting import wait_until

BORN = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def entry(job_id: str, delay_s: float = 0.0) -> Entry:
    return Entry(job_id, delay_s, f"task-{job_id}", "default", BORN)


class TestConnection:
    def test_a_command_whose_answer_was_lost_is_not_repeated(self, tmp_path: Path) -> None:
        with (
            valkey_server(tmp_path) as server,
            FaultProxy(server.port, Fault(cut_on=b"LPUSH", forwarded=True)) as proxy,
        ):
            pulse = Pulse(proxy.redis_url)
            with pytest.raises(PulseError):
                pulse.redis.lpush("list", "once")
            assert server.client.llen("list") == 1
            assert proxy.cuts == 1
            pulse.close()


def claimed(pulse: Pulse, lease_s: float = 30, limit: int = 10) -> list[Due]:
    """What is due now, claimed; something is noted of all of it."""
    due, unknown = pulse.timetable.claim_due(lease_s, limit)
    assert unknown == []
    return due


class TestTimetable:
    def test_a_due_job_comes_with_all_that_is_needed_to_ask(self, pulse: Pulse) -> None:
        pulse.timetable.schedule([entry("a")])
        (due,) = claimed(pulse)
        noted = due.noted
        assert (due.job_id, noted.provider_task_id, noted.key_alias, noted.polls) == ("a", "task-a", "default", 0)
        assert due.age_s == pytest.approx(datetime.now(UTC).timestamp() - BORN.timestamp(), abs=30)
        assert due.late_s >= 0

    def test_what_is_not_due_is_not_claimed(self, pulse: Pulse) -> None:
        pulse.timetable.schedule([entry("a", delay_s=60)])
        assert claimed(pulse) == []
        wait_s = pulse.timetable.next_due_in_s()
        assert wait_s is not None
        assert 50 < wait_s <= 60

    def test_a_claim_is_a_lease_that_falls_due_again(self, pulse: Pulse) -> None:
        pulse.timetable.schedule([entry("a")])
        assert len(claimed(pulse, lease_s=2.0)) == 1
        assert claimed(pulse) == []
        again = wait_until(lambda: claimed(pulse), what="the claim falling due again")
        assert [due.job_id for due in again] == ["a"]

    def test_a_claim_takes_no_more_than_asked_for_and_the_earliest_first(self, pulse: Pulse) -> None:
        pulse.timetable.schedule([entry("late", -5), entry("later", -1), entry("latest", 0)])
        assert [due.job_id for due in claimed(pulse, limit=2)] == ["late", "later"]

    def test_scheduling_again_does_not_move_a_job(self, pulse: Pulse) -> None:
        assert pulse.timetable.schedule([entry("a", 60)]) == 1
        assert pulse.timetable.schedule([entry("a", 0)]) == 0
        assert claimed(pulse) == []

    def test_putting_back_counts_the_look_and_keeps_the_progress(self, pulse: Pulse) -> None:
        pulse.timetable.schedule([entry("a")])
        (due,) = claimed(pulse)
        pulse.timetable.put_back([NextLook(due, 0, progress=0.5)])
        (due,) = claimed(pulse)
        assert due.noted.polls == 1
        pulse.timetable.put_back([NextLook(due, 60)])
        assert json.loads(pulse.redis.hget(shared.LOOKS, "a") or "")[:2] == [2, 0.5]

    def test_a_dropped_job_is_not_put_back(self, pulse: Pulse) -> None:
        pulse.timetable.schedule([entry("a")])
        pulse.timetable.schedule([entry("b")])
        gone, there = sorted(claimed(pulse), key=lambda due: due.job_id)
        pulse.timetable.drop(["a"])
        pulse.timetable.put_back([NextLook(gone, 0), NextLook(there, 0)])
        assert [due.job_id for due in claimed(pulse)] == ["b"]
        assert pulse.redis.hkeys(shared.LOOKS) == [b"b"]

    @pytest.mark.parametrize(
        "noted", [None, "", "null", "[]", "{}", "[1, 2", '[0,null,"task","key","soon","",0,null,0,null]']
    )
    def test_a_member_of_which_nothing_is_noted_is_handed_out_as_unknown(self, pulse: Pulse, noted: str | None) -> None:
        pulse.timetable.schedule([entry("a"), entry("b")])
        pulse.redis.hdel(shared.LOOKS, "a")
        if noted is not None:
            pulse.redis.hset(shared.LOOKS, "a", noted)
        (known,), unknown = pulse.timetable.claim_due(30, 10)
        assert (known.noted.provider_task_id, unknown) == ("task-b", ["a"])
        assert pulse.timetable.claim_due(30, 10) == ([], [])  # it is leased like the other

    def test_a_wiped_redis_does_not_call_its_timetable_whole(self, pulse: Pulse) -> None:
        assert not pulse.timetable.is_whole()
        assert pulse.timetable.end_refill(pulse.timetable.begin_refill())
        assert pulse.timetable.is_whole()
        pulse.redis.flushdb()
        assert not pulse.timetable.is_whole()

    def test_a_wipe_during_a_refill_is_not_missed(self, pulse: Pulse) -> None:
        token = pulse.timetable.begin_refill()
        pulse.redis.flushdb()
        assert not pulse.timetable.end_refill(token)
        assert not pulse.timetable.is_whole()

    def test_a_refill_has_the_views_published_and_the_place_of_an_older_one_is_not_its_own(self, pulse: Pulse) -> None:
        assert pulse.views.refill() is None
        pulse.timetable.end_refill(pulse.timetable.begin_refill())
        old = pulse.views.refill()
        assert old is not None
        assert old.place == ""
        assert pulse.views.advance_refill(old, "cancelled 12:00 job-1")
        assert not pulse.views.advance_refill(old, "cancelled 11:00 job-2")  # somebody else was first
        old = pulse.views.refill()
        assert old is not None
        assert old.place == "cancelled 12:00 job-1"
        pulse.redis.flushdb()
        pulse.timetable.end_refill(pulse.timetable.begin_refill())
        assert not pulse.views.advance_refill(old, None)
        new = pulse.views.refill()
        assert new is not None
        assert new.place == ""
        assert pulse.views.advance_refill(new, None)
        assert pulse.views.refill() is None


class TestLanes:
    def test_a_silent_lane_is_seeded_once(self, pulse: Pulse) -> None:
        assert pulse.lanes.seed("poll", 30) is not None
        assert pulse.lanes.seed("poll", 30) is None
        assert pulse.lanes.seed("admit", 30) is not None

    def test_only_the_newest_epoch_keeps_a_lane_alive(self, pulse: Pulse) -> None:
        first = pulse.lanes.seed("poll", 30)
        pulse.redis.delete(keys.lane_beat("poll"))
        second = pulse.lanes.seed("poll", 30)
        assert first is not None
        assert second is not None
        assert not pulse.lanes.renew("poll", first, 30)
        assert pulse.lanes.renew("poll", second, 30)

    def test_after_a_wipe_a_lane_that_was_on_its_way_falls_silent(self, pulse: Pulse) -> None:
        first = pulse.lanes.seed("poll", 30)
        assert first is not None
        pulse.redis.flushdb()
        second = pulse.lanes.seed("poll", 30)
        assert second is not None
        assert not pulse.lanes.renew("poll", first, 30)

    def test_a_lane_that_gives_no_sign_is_seeded_anew(self, pulse: Pulse) -> None:
        first = pulse.lanes.seed("poll", 0.1)
        assert first is not None
        assert wait_until(lambda: pulse.lanes.seed("poll", 30), what="the heartbeat expiring") > first


class TestIntake:
    def test_an_entry_is_read_again_until_it_is_done(self, pulse: Pulse) -> None:
        assert pulse.intake.read(10, wait_s=0.01) == []  # makes the group
        pulse.redis.xadd(shared.REQUESTS, {"v": "1", "job": "a", "request": "{}"})
        (first,) = pulse.intake.read(10, wait_s=1)
        (again,) = pulse.intake.read(10, wait_s=1)
        assert first == again
        assert again.fields == {"v": b"1", "job": b"a", "request": b"{}"}
        pulse.intake.done([again.id])
        assert pulse.intake.read(10, wait_s=0.01) == []
        assert pulse.redis.xlen(shared.REQUESTS) == 0

    def test_what_a_dead_lane_had_read_is_read_again_one_at_a_time(self, pulse: Pulse) -> None:
        assert pulse.intake.read(10, wait_s=0.01) == []
        for job in ("one", "two", "three"):
            pulse.redis.xadd(shared.REQUESTS, {"job": job})
        assert len(pulse.intake.read(2, wait_s=1)) == 2
        found = []
        while entries := pulse.intake.read(10, wait_s=0.01):
            (entry,) = entries
            found.append(entry.fields["job"])
            pulse.intake.done([entry.id])
        assert found == [b"one", b"two", b"three"]

    def test_what_was_submitted_before_any_worker_ran_is_read(self, pulse: Pulse) -> None:
        pulse.redis.xadd(shared.REQUESTS, {"job": "early"})
        pulse.intake.read(10, wait_s=0.01)
        assert [entry.fields["job"] for entry in pulse.intake.read(10, wait_s=1)] == [b"early"]

    def test_inputs_are_handed_out_and_freed(self, pulse: Pulse) -> None:
        pulse.redis.set(shared.input_blob("ab"), b"\x00\xff")
        assert pulse.intake.input("ab") == b"\x00\xff"
        pulse.intake.drop_inputs(["ab"])
        assert pulse.intake.input("ab") is None


class TestViews:
    def view(self, state: State, **more: object) -> JobView:
        return JobView("job-1", state, (JobEvent(1, "accept", State.QUEUED, BORN),), **more)  # type: ignore[arg-type]

    def test_any_celery_client_reads_state_info_result_and_exception(self, pulse: Pulse, redis_url: str) -> None:
        with Celery("stranger", broker=redis_url, backend=redis_url) as app:
            result = app.AsyncResult("job-1")
            assert result.state == "PENDING"
            pulse.views.publish([self.view(State.GENERATING)])
            assert (result.state, result.info["events"][0]["event"]) == ("GENERATING", "accept")
            pulse.views.publish([self.view(State.FAILED, error_code="010004095", error_message="no luck")])
            assert result.failed()
            assert type(result.result).__name__ == "JobFailed"
            assert result.result.args == ("job-1", "010004095", "no luck")

    def test_whoever_waits_is_told_at_once(self, pulse: Pulse, redis_url: str) -> None:
        with Celery("stranger", broker=redis_url, backend=redis_url) as app:
            channel = pulse.redis.pubsub()
            channel.subscribe(shared.view("job-1"))
            wait_until(lambda: channel.get_message(timeout=1), what="the subscription")
            pulse.views.publish([self.view(State.COMPLETED)])
            assert app.AsyncResult("job-1").get(timeout=10)["state"] == "completed"
            message = wait_until(lambda: channel.get_message(timeout=1), what="the published view")
            channel.close()
        assert json.loads(message["data"])["status"] == "SUCCESS"

    def test_a_view_survives_its_record(self, pulse: Pulse) -> None:
        view = self.view(State.RECORDING, metadata={"shot": 1})
        pulse.views.publish([view])
        raw = pulse.redis.get(shared.view("job-1"))
        assert isinstance(raw, bytes)
        assert decode_record(raw) == view

    def test_a_view_read_earlier_does_not_have_the_last_word(self, pulse: Pulse) -> None:
        admitted = JobEvent(2, "admit", State.ADMITTED, BORN)
        newer = JobView("job-1", State.ADMITTED, (*self.view(State.QUEUED).events, admitted))
        pulse.views.publish([newer])
        pulse.views.publish([self.view(State.QUEUED)])
        raw = pulse.redis.get(shared.view("job-1"))
        assert isinstance(raw, bytes)
        assert decode_record(raw) == newer

    def test_what_stands_there_unreadable_is_written_over(self, pulse: Pulse) -> None:
        pulse.redis.set(shared.view("job-1"), b"\xff{")
        pulse.views.publish([self.view(State.QUEUED)])
        raw = pulse.redis.get(shared.view("job-1"))
        assert isinstance(raw, bytes)
        assert decode_record(raw) == self.view(State.QUEUED)

    def test_what_stands_there_in_another_form_is_written_over_and_stops_no_other(self, pulse: Pulse) -> None:
        other = JobView("job-2", State.QUEUED, self.view(State.QUEUED).events)
        pulse.redis.lpush(shared.view("job-1"), "a list")
        pulse.views.publish([self.view(State.QUEUED), other])
        for job_id, view in (("job-1", self.view(State.QUEUED)), ("job-2", other)):
            raw = pulse.redis.get(shared.view(job_id))
            assert isinstance(raw, bytes)
            assert decode_record(raw) == view
