"""Jobs that completed together go through the completion chain together; each has its own luck there."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from decimal import Decimal
from itertools import chain
from typing import Any

import pytest
import sqlalchemy as sa

import tasks.finish
from schemas.jobs import Output, State
from tasks import hints, operating
from tasks.finish import download, record
from tasks.ledger import tables
from tasks.media.errors import FetchInterrupted, NoRoom
from tasks.media.outputs import OutputFetcher
from tests.support.bench import Bench
from tests.support.situations import FILM, with_policy
from tests.support.waiting import wait_until

Keep = Callable[[str], None]
"""What happens to a job's film, by the job's id, before it is there."""


@pytest.fixture
def films(monkeypatch: pytest.MonkeyPatch) -> dict[str, Keep]:
    """Films are there at once, but for those of the jobs named here."""
    strange: dict[str, Keep] = {}

    def keep(_self: OutputFetcher, _remote: Any, name: str, index: int, _expected: Any) -> Output:
        job_id = name.split("/")[1]
        strange.get(job_id, lambda _: None)(job_id)
        return Output(index, "video", f"{name}.mp4", 1, "0" * 64, 512, 512, 6.0)

    monkeypatch.setattr(OutputFetcher, "keep", keep)
    return strange


def fetched(first: str, more: list[str]) -> bool:
    """Run the download of these jobs; whether the chain goes on after it."""
    download.push_request(chain=["record"])
    try:
        download.run(first, more)
        return bool(download.request.chain)
    finally:
        download.pop_request()


def completed(bench: Bench, number: int, **request: Any) -> list[str]:
    """So many jobs whose provider tasks were found completed by one look."""
    bench = with_policy(bench, open_tasks_per_key=100)
    made = sorted(bench.generating(**request) for _ in range(number))
    bench.provider.polls.extend([FILM] * number)
    bench.look()
    assert {bench.state(job_id) for job_id in made} == {State.DOWNLOADING}
    return made


def sent(bench: Bench, queue: str) -> list[tuple[dict[str, Any], list[Any]]]:
    """The arguments of the messages in a queue, each with its chain; the first sent first."""
    found = []
    for raw in bench.ctx.pulse.redis.lrange(queue, 0, -1)[::-1]:  # type: ignore[index]
        _, arguments, embedded = json.loads(base64.b64decode(json.loads(raw)["body"]))
        found.append((arguments, [each["kwargs"] for each in embedded["chain"] or ()]))
    return found


def states(bench: Bench) -> dict[str, str]:
    return {row.id: row.state for row in bench.rows(tables.jobs)}


class TestMessages:
    @pytest.mark.parametrize(("jobs", "sizes"), [(1, [1]), (4, [1] * 4), (5, [2, 2, 1]), (19, [5, 5, 5, 4])])
    def test_they_are_shared_out_before_any_holds_many(self, bench: Bench, jobs: int, sizes: list[int]) -> None:
        made = completed(bench, jobs)
        messages = [[each["job"], *each.get("more", [])] for each, _ in sent(bench, "finish")]
        assert [len(each) for each in messages] == sizes
        assert sorted(chain.from_iterable(messages)) == made

    def test_none_holds_more_than_one_worker_may_lose(self, bench: Bench) -> None:
        completed(bench, 41)
        assert [1 + len(each.get("more", [])) for each, _ in sent(bench, "finish")] == [hints.TOGETHER_MOST] * 5 + [1]

    def test_what_follows_names_the_same_jobs(self, bench: Bench) -> None:
        completed(bench, 6)
        assert all(following == [arguments] for arguments, following in sent(bench, "finish"))

    def test_the_sweep_sends_a_message_for_each(self, bench: Bench) -> None:
        made = completed(bench, 6)
        bench.ctx.pulse.redis.delete("finish")
        bench.lapse()
        bench.turn("sweep")
        assert sorted(arguments["job"] for arguments, _ in sent(bench, "finish")) == made
        assert not any("more" in arguments for arguments, _ in sent(bench, "finish"))


class TestDownload:
    def test_all_are_stored_and_then_recorded(self, bench: Bench, films: dict[str, Keep]) -> None:
        first, *more = completed(bench, 3)
        assert fetched(first, more)
        assert set(states(bench).values()) == {State.RECORDING}
        assert bench.messages("record") == 0  # the chain's affair
        record(first, more)
        record(first, more)
        assert set(states(bench).values()) == {State.COMPLETED}
        assert [row.amount_usd for row in bench.rows(tables.charges)] == [Decimal("0.28")] * 3
        for job_id in (first, *more):
            view = bench.view(job_id)
            assert view is not None
            assert (view.state, len(view.outputs), view.charged_usd) == (State.COMPLETED, 1, Decimal("0.28"))

    def test_jobs_of_several_tenants_are_charged_to_their_own(self, bench: Bench, films: dict[str, Keep]) -> None:
        made = completed(bench, 2, tenant="blue") + completed(bench, 1, tenant="amber")
        download(made[0], made[1:])
        record(made[0], made[1:])
        spent = {row.tenant: row.amount_usd for row in bench.rows(tables.spending)}
        assert spent == {"blue": Decimal("0.56"), "amber": Decimal("0.28")}

    @pytest.mark.parametrize(
        "error", [FetchInterrupted("broke off"), NoRoom("the disk is nearly full"), OSError(5, "no")]
    )
    def test_one_that_fails_is_given_back_and_the_others_are_stored(
        self, bench: Bench, films: dict[str, Keep], error: Exception
    ) -> None:
        first, broken, last = completed(bench, 3)
        films[broken] = raising(error)
        assert fetched(first, [broken, last])
        assert states(bench) == {first: "recording", broken: "downloading", last: "recording"}
        (row,) = (row for row in bench.rows(tables.jobs) if row.id == broken)
        assert (row.claimed, row.deaths) == (False, 0)

    def test_one_that_our_code_can_not_take_counts_as_a_death_and_spoils_nothing(
        self, bench: Bench, films: dict[str, Keep]
    ) -> None:
        bad, *others = completed(bench, 3)
        films[bad] = raising(ZeroDivisionError())
        assert fetched(bad, others)
        assert states(bench) == {bad: "downloading", **dict.fromkeys(others, "recording")}
        bench.lapse()
        bench.turn("sweep")
        (row,) = (row for row in bench.rows(tables.jobs) if row.id == bad)
        assert (row.claimed, row.deaths) == (False, 1)

    def test_with_nothing_stored_nothing_follows(self, bench: Bench, films: dict[str, Keep]) -> None:
        made = completed(bench, 2)
        films |= dict.fromkeys(made, raising(FetchInterrupted("broke off")))
        assert not fetched(made[0], made[1:])
        assert bench.messages("record") == 0

    def test_one_that_is_not_wanted_any_more_is_dropped_and_the_others_are_stored(
        self, bench: Bench, films: dict[str, Keep]
    ) -> None:
        first, unwanted, last = completed(bench, 3)
        operating.cancel(bench.ctx, unwanted)
        films[unwanted] = raising(AssertionError("nobody wants it"))
        download(first, [unwanted, last])
        record(first, [unwanted, last])
        assert states(bench) == {first: "completed", unwanted: "cancelled", last: "completed"}

    def test_one_that_is_slow_holds_up_none_of_the_others(self, bench: Bench, films: dict[str, Keep]) -> None:
        first, slow, last = completed(bench, 3)
        told = threading.Event()
        films[slow] = lambda _: told.wait(60) and None
        others = threading.Thread(target=lambda: _heard_of(bench, {first, last}, told))
        others.start()
        assert fetched(first, [slow, last])
        others.join()
        assert told_to_record(bench) == {first, last}
        record(first, [slow, last])
        assert set(states(bench).values()) == {State.COMPLETED}

    def test_a_database_that_fails_for_some_is_tried_again_for_those_that_are_slower(
        self, bench: Bench, films: dict[str, Keep], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        away, *slower = completed(bench, 3)
        failed = threading.Event()
        films |= dict.fromkeys(slower, lambda _: failed.wait(60) and None)
        store = tasks.finish._store

        def once(*args: Any) -> Any:
            monkeypatch.setattr(tasks.finish, "_store", store)
            failed.set()
            raise sa.exc.OperationalError("", {}, ConnectionError())

        monkeypatch.setattr(tasks.finish, "_store", once)
        with pytest.raises(sa.exc.OperationalError):
            download(away, slower)
        assert states(bench) == {away: "downloading", **dict.fromkeys(slower, "recording")}
        assert told_to_record(bench) == set(slower)
        assert not any(row.claimed or row.deaths for row in bench.rows(tables.jobs))

    def test_nothing_is_still_fetched_when_others_may_have_the_jobs(
        self, bench: Bench, films: dict[str, Keep], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, slow, last = completed(bench, 3)
        broken = threading.Event()
        ended: list[str] = []

        def slowly(job_id: str) -> None:
            broken.wait(60)
            ended.append(job_id)

        def breaks(*_: Any) -> Any:
            broken.set()
            raise ZeroDivisionError

        films[slow] = slowly
        monkeypatch.setattr(tasks.finish, "_store", breaks)
        with pytest.raises(ZeroDivisionError):
            download(first, [slow, last])
        assert ended == [slow]
        # Nobody knows whose fault it was: each is tried by itself.
        assert [(row.claimed, row.deaths) for row in bench.rows(tables.jobs)] == [(False, 0)] * 3

    def test_a_database_that_fails_in_the_middle_is_no_death_of_a_worker(
        self, bench: Bench, films: dict[str, Keep]
    ) -> None:
        first, away, last = completed(bench, 3)
        films[away] = raising(sa.exc.OperationalError("", {}, ConnectionError()))
        with pytest.raises(sa.exc.OperationalError):
            download(first, [away, last])
        found = {row.id: (row.state, row.claimed, row.deaths) for row in bench.rows(tables.jobs)}
        assert found[away] == ("downloading", False, 0)
        assert not any(claimed or deaths for _, claimed, deaths in found.values())


def told_to_record(bench: Bench) -> set[str]:
    return {name for each, _ in sent(bench, "record") for name in (each["job"], *each.get("more", []))}


def _heard_of(bench: Bench, jobs: set[str], told: threading.Event) -> None:
    wait_until(lambda: told_to_record(bench) == jobs, what="word of the others")
    told.set()


def raising(error: Exception) -> Keep:
    def keep(_job_id: str) -> None:
        raise error

    return keep
