"""The lane sweep by itself, on real servers: what was lost is sent and shown again, what is over is forgotten."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from schemas import keys
from schemas.jobs import State
from schemas.keys import TIMETABLE
from tasks import operating
from tasks.create import create
from tasks.domain.answers import Failed
from tasks.ledger import tables
from tasks.pulse import PulseError
from tests.support.bench import Bench
from tests.support.situations import downloading, with_policy


def test_a_lost_message_is_sent_again(bench: Bench) -> None:
    bench.turn("sweep")  # finds Redis empty, and knows it as whole from then on
    job_id = bench.submit()
    bench.turn("admit")
    bench.ctx.pulse.redis.delete("create")
    bench.turn("sweep")
    assert bench.messages("create") == 0  # it may still be on its way
    bench.lapse()
    bench.turn("sweep")
    assert bench.messages("create") == 1
    create(job_id)
    assert bench.state(job_id) is State.GENERATING


def test_a_place_on_the_timetable_that_was_lost_is_given_again(bench: Bench) -> None:
    bench.generating()
    bench.turn("sweep")
    for _ in range(2):  # the second time long after it was confirmed
        bench.ctx.pulse.redis.delete("reelworks:timetable")
        bench.lapse()
        bench.turn("sweep")
        assert bench.ctx.pulse.timetable.next_due_in_s() is not None


def test_what_was_noted_of_a_task_and_lost_is_made_again(bench: Bench) -> None:
    bench.generating()
    bench.ctx.pulse.redis.delete(keys.LOOKS)
    bench.look()
    bench.look()
    assert bench.provider.polled == ["task-1"]


@pytest.mark.parametrize("wiped", [True, False])
def test_whoever_waits_for_a_job_that_ended_is_told_in_the_end(bench: Bench, wiped: bool) -> None:
    job_id = bench.generating()
    bench.turn("sweep")
    bench.provider.polls = [Failed("010004095", "no luck")]
    bench.look()
    if wiped:
        bench.ctx.pulse.redis.flushall()
    else:  # the worker died between the commit and the view
        bench.ctx.pulse.redis.delete(keys.view(job_id))
        bench.lapse()
    assert bench.view(job_id) is None
    bench.turn("sweep")
    view = bench.view(job_id)
    assert view is not None
    assert view.state is State.FAILED


def with_history(bench: Bench) -> tuple[Bench, str, str, list[str]]:
    """A generating job, one to be downloaded, and more jobs that have ended than a turn looks at."""
    bench = with_policy(bench, sweep_batch=2)
    to_download = downloading(bench)
    generating = bench.generating()
    ended = [bench.submit() for _ in range(7)]
    for job_id in ended:
        operating.cancel(bench.ctx, job_id)
    while bench.turn("sweep") == 0.0:  # nothing of it needs to be followed up any more
        pass
    return bench, generating, to_download, ended


def shown(bench: Bench, job_ids: Sequence[str]) -> list[str]:
    return [job_id for job_id in job_ids if bench.view(job_id) is not None]


def test_after_a_wipe_open_jobs_go_on_before_the_views_of_ended_ones_are_back(bench: Bench) -> None:
    bench, generating, to_download, ended = with_history(bench)
    bench.ctx.pulse.redis.flushall()
    assert bench.turn("sweep") == 0.0
    assert bench.ctx.pulse.redis.zscore(TIMETABLE, generating) is not None
    assert bench.messages("finish") == 1
    seen = [len(shown(bench, ended))]
    while bench.turn("sweep") == 0.0:
        seen.append(len(shown(bench, ended)))
    assert all(after - before <= 2 for before, after in pairwise(seen))
    every = [generating, to_download, *ended]
    assert shown(bench, every) == every
    assert bench.messages("finish") == 1


def test_a_second_wipe_while_views_come_back_begins_anew(bench: Bench) -> None:
    bench, *open_jobs, ended = with_history(bench)
    bench.ctx.pulse.redis.flushall()
    for _ in range(4):
        assert bench.turn("sweep") == 0.0
    assert 0 < len(shown(bench, ended)) < len(ended)
    bench.ctx.pulse.redis.flushall()
    while bench.turn("sweep") == 0.0:
        pass
    assert shown(bench, [*open_jobs, *ended]) == [*open_jobs, *ended]


def test_a_view_that_could_not_be_published_is_published_by_the_next_turn(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, *_, ended = with_history(bench)
    bench.ctx.pulse.redis.flushall()

    def away(*_: Any) -> None:
        raise PulseError("connection lost")

    with monkeypatch.context() as broken:
        broken.setattr(bench.ctx.pulse.views, "publish", away)
        with pytest.raises(PulseError):
            bench.turn("sweep")
    while bench.turn("sweep") == 0.0:
        pass
    assert shown(bench, ended) == ended


def test_a_part_that_a_dead_worker_left_is_removed_and_one_at_work_is_not(bench: Bench) -> None:
    left, written = (bench.ctx.store.part(f"default/job/{index}.part") for index in range(2))
    for part in (left, written):
        part.write_bytes(b"half a film")
    os.utime(left, (0, 0))
    bench.turn("sweep")
    assert (left.exists(), written.exists()) == (False, True)


def test_what_needs_nothing_more_is_forgotten(bench: Bench) -> None:
    bench.generating()
    bench.provider.polls = [Failed("010004095", "no luck")]
    bench.look()
    bench.lapse()
    bench.turn("sweep")
    (row,) = bench.rows(tables.jobs)
    assert row.lease_until is None
