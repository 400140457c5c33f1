"""Callers are told what became of their jobs: at least once, signed, and whatever their receivers do meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial

import pytest
import sqlalchemy as sa

from schemas.jobs import State
from tasks import context
from tasks.domain.answers import Failed
from tasks.domain.delivering import WebhookPolicy
from tasks.domain.transitions import Event
from tasks.ledger import tables
from tasks.ledger.database import Transaction
from tasks.ledger.deliveries import Delivery, replay, take
from tasks.ledger.jobs import move
from tasks.ledger.webhook_secrets import rotate, secrets_of
from tasks.notify import deliver
from tasks.operating import cancel
from tasks.outward import Reach
from tasks.pulse.keys import TALLY
from tasks.webhooks import Webhooks
from tests.support.bench import MODEL, URL, Bench
from tests.support.doors import Door, client, new_key
from tests.support.every_way import send_webhooks as send
from tests.support.receiver import Call, Receiver, receiving
from tests.support.situations import completed, with_policy
from tests.support.waiting import wait_until

HOUR_S = 3600.0
POLICY = WebhookPolicy(connect_s=1, read_s=0.3, total_s=1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@contextmanager
def sending(bench: Bench, policy: WebhookPolicy) -> Iterator[Bench]:
    webhooks = Webhooks(policy, Reach(private=frozenset({"127.0.0.1"})))
    ctx = replace(with_policy(bench, webhook=policy).ctx, webhooks=webhooks)
    context.install(lambda: ctx)
    yield replace(bench, ctx=ctx)
    webhooks.close()


@pytest.fixture
def told(bench: Bench) -> Iterator[Bench]:
    """A bench that is soon done with a receiver which does not answer."""
    with sending(bench, POLICY) as made:
        yield made


Later = Callable[[float], None]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Lets the ledger's clock, that of either database, go forward."""
    ahead_s = 0.0
    real = Transaction.__dict__["now"].func

    def go(seconds: float) -> None:
        nonlocal ahead_s
        ahead_s += seconds

    shifted = cached_property(lambda tx: real(tx) + timedelta(seconds=ahead_s))
    shifted.__set_name__(Transaction, "now")
    monkeypatch.setattr(Transaction, "now", shifted)
    return go


def owed(bench: Bench) -> list[Delivery]:
    rows = sorted(bench.rows(tables.webhooks), key=lambda row: (row.at, row.seq))
    return [Delivery(**{name: getattr(row, name) for name in Delivery.__slots__}) for row in rows]


def hasten(bench: Bench) -> None:
    """Make due what is put off, and let no receiver's pause hold it up."""
    with bench.ctx.ledger.begin() as tx:
        waits = tables.webhooks.c.due_at.is_not(None)
        tx.execute(sa.update(tables.webhooks).where(waits).values(due_at=tx.now))


def secret(bench: Bench, tenant: str = "default") -> str:
    with bench.ctx.ledger.read() as tx:
        return secrets_of(tx, tenant)[0].text


def ask(bench: Bench, receiver: Receiver, path: str = "/hook", **more: object) -> str:
    return bench.generating(callback_url=f"{receiver.url}{path}", **more)


def types(calls: list[Call]) -> list[str]:
    return [each.said["type"] for each in calls]


class TestWhatIsTold:
    def test_a_job_that_completes_is_told_of_twice(self, told: Bench, receiver: Receiver, quick_films: None) -> None:
        job_id = told.submit(callback_url=f"{receiver.url}/hook?order=7")
        completed(told, job_id)
        send(told)
        assert sorted(types(receiver.calls)) == ["job.completed", "job.generating"]
        assert {each.path for each in receiver.calls} == {"/hook?order=7"}
        assert all(each.delivered_at and each.due_at is None and each.tries == 1 for each in owed(told))

    def test_it_shows_the_job_as_the_gateway_does(self, told: Bench, receiver: Receiver, quick_films: None) -> None:
        told = replace(told, ctx=replace(told.ctx, gateway=replace(told.ctx.gateway, base_url="https://films.example")))
        context.install(lambda: told.ctx)
        job_id = told.submit(callback_url=f"{receiver.url}/hook")
        completed(told, job_id)
        send(told)
        shown = Door(client(), new_key(told.ctx.ledger, "default")).get(f"/v1/jobs/{job_id}").get_json()
        shown["outputs"][0]["url"] = "https://films.example" + shown["outputs"][0]["url"]
        last = next(each for each in receiver.calls if each.said["type"] == "job.completed")
        said = last.verified(secret(told))
        assert said == {
            "type": "job.completed",
            "timestamp": shown["events"][-1]["at"],
            "seq": shown["events"][-1]["seq"],
            "data": shown,
        }

    def test_failed_and_cancelled_jobs_are_told_of(self, told: Bench, receiver: Receiver) -> None:
        failed = ask(told, receiver)
        told.provider.polls.append(Failed("2013", "no"))
        told.look()
        cancel(told.ctx, waiting := told.submit(callback_url=f"{receiver.url}/hook"))
        send(told)
        assert sorted(types(receiver.calls)) == ["job.cancelled", "job.failed", "job.generating"]
        ends = [each.said["data"] for each in receiver.calls if each.said["type"] != "job.generating"]
        by_job = {each["id"]: each for each in ends}
        assert by_job[failed]["error"]["code"] == "2013"
        assert by_job[waiting]["state"] == "cancelled"

    def test_who_gave_no_address_is_told_nothing(self, told: Bench) -> None:
        told.generating()
        assert owed(told) == []

    def test_what_did_not_happen_is_not_told(self, told: Bench, receiver: Receiver) -> None:
        job_id = told.submit(callback_url=f"{receiver.url}/hook")
        with suppress(RuntimeError), told.ctx.ledger.begin() as tx:
            assert move(tx, job_id, Event.CANCEL, lease_s=1) is not None
            raise RuntimeError("the transaction does not come to its end")
        assert told.state(job_id) is State.QUEUED
        assert owed(told) == []

    def test_through_the_drop_in_door_it_is_the_providers_task(
        self, told: Bench, receiver: Receiver, quick_films: None
    ) -> None:
        door = Door(client(), new_key(told.ctx.ledger))
        params = {"first_frame_image": URL, "callback_url": f"{receiver.url}/hook"}
        job_id = door.post("/model/v1/generation", {"model": MODEL, "input": [{"params": params}]}).get_json()["id"]
        completed(told, job_id)
        send(told)
        shown = door.get(f"/model/v1/generation/task/{job_id}").get_json()
        told_of = [each.verified(secret(told, "film")) for each in receiver.calls]
        assert [each["id"] for each in told_of] == [job_id, job_id]
        assert all(each["status"] == "completed" and each["usage"] == shown["usage"] for each in told_of)
        assert told_of[0].keys() == shown.keys()

    def test_a_batch_of_messages_keeps_its_ids_apart(self, told: Bench, receiver: Receiver) -> None:
        ask(told, receiver)
        ask(told, receiver)
        send(told)
        assert len({each.id for each in receiver.calls}) == 2


class TestReceiversThatFail:
    def test_what_fails_is_sent_again_with_the_same_id_until_it_arrives(
        self, told: Bench, receiver: Receiver, later: Later
    ) -> None:
        receiver.answers = [500, 503, 404]
        ask(told, receiver)
        for delay_s in (0, 7, 20, 60):
            later(delay_s)
            send(told)
        assert [each.status for each in receiver.calls] == [500, 503, 404, 204]
        assert len({each.id for each in receiver.calls}) == 1
        assert [each.verified(secret(told))["type"] for each in receiver.calls] == ["job.generating"] * 4
        later(HOUR_S)
        send(told)
        assert len(receiver.calls) == 4

    def test_it_waits_before_it_tries_again(self, told: Bench, receiver: Receiver, later: Later) -> None:
        receiver.answers = [500]
        ask(told, receiver)
        send(told)
        later(3)
        send(told)
        assert len(receiver.calls) == 1
        (message,) = owed(told)
        assert (message.tries, message.last_error) == (1, "HTTP 500")

    def test_whoever_does_not_answer_is_not_waited_for_without_end(
        self, told: Bench, receiver: Receiver, later: Later
    ) -> None:
        receiver.answers = [0]
        ask(told, receiver)
        send(told)
        (message,) = owed(told)
        assert (message.tries, message.last_error) == (1, "ReadTimeout")
        later(10)
        send(told)
        assert [each.status for each in receiver.calls] == [None, 204]

    def test_whoever_is_gone_is_told_no_more_of_this_job(self, told: Bench, receiver: Receiver, later: Later) -> None:
        receiver.answers = [500, 410]
        job_id = ask(told, receiver)
        send(told)
        told.provider.polls.append(Failed("2013", "no"))
        told.look()
        send(told)
        messages = owed(told)
        assert [(each.event, each.due_at, each.last_error) for each in messages] == [
            ("generating", None, "HTTP 410"),  # which was to be tried again
            ("failed", None, "HTTP 410"),
        ]
        assert all(each.died_at is not None for each in messages)
        later(2 * HOUR_S)
        send(told)
        assert len(receiver.calls) == 2
        with told.ctx.ledger.begin() as tx:
            assert replay(tx, [each.id for each in messages]) == 2
        send(told)
        assert [each.said["data"]["id"] for each in receiver.taken()] == [job_id, job_id]
        assert sorted(types(receiver.taken())) == ["job.failed", "job.generating"]

    def test_a_redirect_is_not_followed(self, told: Bench, receiver: Receiver) -> None:
        with receiving() as other:
            receiver.answers, receiver.headers = [307], {"Location": f"{other.url}/elsewhere"}
            ask(told, receiver)
            send(told)
            assert other.calls == []
        (message,) = owed(told)
        assert (message.last_error, message.delivered_at) == ("HTTP 307", None)

    def test_what_has_not_arrived_for_a_day_is_dead_and_can_be_sent_again(
        self, told: Bench, receiver: Receiver, later: Later
    ) -> None:
        receiver.answers = [500] * 200
        ask(told, receiver)
        for _ in range(120):
            send(told)
            if owed(told)[0].died_at is not None:
                break
            later(HOUR_S / 2)
        (message,) = owed(told)
        assert (message.due_at, message.died_at is not None) == (None, True)
        assert (message.died_at or message.since) - message.since >= timedelta(days=1)
        receiver.answers = []
        with told.ctx.ledger.begin() as tx:
            replay(tx, [message.id])
        send(told)
        assert [each.id for each in receiver.taken()] == [message.id]

    def test_an_address_that_leads_to_a_private_place_is_never_opened(
        self, told: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("socket.getaddrinfo", _leads_home)
        told.generating(callback_url="https://hooks.example/hook")
        send(told)
        assert receiver.calls == []
        (message,) = owed(told)
        assert message.died_at is not None
        assert message.last_error == "the address is not public"


def _leads_home(_host: object, port: int, *_: object, **__: object) -> list[object]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.mark.parametrize("url", ["https://10.0.0.1/hook", "https://orders/hook", "http://hooks.example/hook"])
def test_an_address_that_could_not_be_reached_is_refused_at_every_door(told: Bench, url: str) -> None:
    door = Door(client(), new_key(told.ctx.ledger))
    request = {"model": MODEL, "first_frame_image": URL, "callback_url": url}
    answer = door.post("/v1/jobs", request)
    assert answer.status_code == 422
    (problem,) = answer.get_json()["errors"]
    assert problem["field"] == "callback_url"
    assert "REELWORKS_WEBHOOK_PRIVATE" in problem["message"]
    job_id = told.submit(**request)
    (aside,) = told.rows(tables.rejected)
    assert (aside.job_id, aside.reason.split(":")[0]) == (job_id, "callback_url")
    assert told.rows(tables.jobs) == []


class TestManyReceivers:
    def test_one_that_is_away_is_left_alone_and_then_tried_with_one_message(
        self, told: Bench, receiver: Receiver, later: Later
    ) -> None:
        receiver.answers = [500] * POLICY.failures_most
        first = ask(told, receiver)
        for _ in range(POLICY.failures_most):
            send(told)
            later(HOUR_S)
        assert len(receiver.calls) == POLICY.failures_most
        receiver.answers = [500]
        others = [told.submit(callback_url=f"{receiver.url}/{number}") for number in range(5)]
        for job_id in others:
            cancel(told.ctx, job_id)
        send(told)  # the pause is over: one is tried, and the others wait for what becomes of it
        assert len(receiver.calls) == POLICY.failures_most + 1
        send(told)
        assert len(receiver.calls) == POLICY.failures_most + 1
        for _ in range(4):
            later(HOUR_S)
            send(told)
        assert {each.said["data"]["id"] for each in receiver.taken()} == {first, *others}
        assert told.rows(tables.receivers) == []

    def test_its_neighbours_are_told_meanwhile(self, bench: Bench, receiver: Receiver) -> None:
        patient = replace(POLICY, read_s=20, total_s=20)
        with receiving() as slow, sending(bench, patient) as told:
            slow.answers = [0] * 50
            for _ in range(30):
                cancel(told.ctx, told.submit(callback_url=f"{slow.url}/hook"))
            cancel(told.ctx, told.submit(callback_url=f"{receiver.url}/hook"))

            def is_told() -> bool:
                told.turn("notify")
                return any(each.delivered_at for each in owed(told))

            wait_until(is_told, what="the neighbour's message")
            for _ in range(5):
                told.turn("notify")
            free = patient.slots - patient.slots_per_receiver
            wait_until(lambda: told.ctx.webhooks.room() >= free, what="the end of the neighbour's message")
            assert told.ctx.webhooks.room() == free
            slow.over.set()

    def test_one_that_failed_long_ago_is_forgotten(self, told: Bench, receiver: Receiver, later: Later) -> None:
        receiver.answers = [500, 500]
        ask(told, receiver)
        send(told)
        (old,) = told.rows(tables.receivers)
        later(8 * 24 * HOUR_S)
        with receiving() as other:
            other.answers = [500]
            cancel(told.ctx, told.submit(callback_url=f"{other.url}/hook", tenant="another"))
            with told.ctx.ledger.begin() as tx:
                tx.execute(sa.update(tables.webhooks).where(tables.webhooks.c.tenant == "default").values(due_at=None))
            send(told)
        (new,) = told.rows(tables.receivers)
        assert new.name != old.name

    def test_failures_at_the_same_moment_are_one(self, told: Bench, receiver: Receiver) -> None:
        receiver.answers = [500] * POLICY.slots_per_receiver
        for _ in range(POLICY.slots_per_receiver):
            cancel(told.ctx, told.submit(callback_url=f"{receiver.url}/hook"))
        with told.ctx.ledger.begin() as tx:
            taken = take(tx, POLICY, 100, POLICY.slots, ())
        assert len(taken.messages) == POLICY.slots_per_receiver
        sending = told.ctx.webhooks
        begun = [sending.begin(each.receiver, partial(deliver, told.ctx, each)) for each in taken.messages]
        for each in begun:
            each.result(10)
        assert [row.failures for row in told.rows(tables.receivers)] in ([1], [2])

    def test_what_waited_a_day_for_one_that_is_away_is_dead_untried(
        self, told: Bench, receiver: Receiver, later: Later
    ) -> None:
        receiver.answers = [500] * 100
        ask(told, receiver)
        for _ in range(POLICY.failures_most):
            send(told)
            later(1)
            hasten(told)
        for number in range(3):
            cancel(told.ctx, told.submit(callback_url=f"{receiver.url}/{number}"))
        send(told)
        later(25 * HOUR_S)
        send(told)
        assert all(each.died_at is not None for each in owed(told))
        assert len(receiver.calls) == POLICY.failures_most + 1
        told.ctx.pulse.tally.send()
        assert told.ctx.pulse.redis.hget(TALLY, "deliveries|dead") == str(len(owed(told))).encode()


class TestDeaths:
    def test_whoever_dies_before_the_answer_has_it_sent_again(
        self, told: Bench, receiver: Receiver, later: Later
    ) -> None:
        ask(told, receiver)
        with told.ctx.ledger.begin() as tx:
            assert len(take(tx, POLICY, 100, POLICY.slots, ()).messages) == 1
        send(told)
        assert receiver.calls == []  # it is on its way, as far as anybody knows
        later(POLICY.lease_s + 1)
        send(told)
        assert len(receiver.taken()) == 1

    def test_an_answer_that_comes_late_is_still_an_answer(self, told: Bench, receiver: Receiver, later: Later) -> None:
        ask(told, receiver)
        with told.ctx.ledger.begin() as tx:
            (early,) = take(tx, POLICY, 100, POLICY.slots, ()).messages
        later(POLICY.lease_s + 1)
        with told.ctx.ledger.begin() as tx:
            assert len(take(tx, POLICY, 100, POLICY.slots, ()).messages) == 1
        deliver(told.ctx, early)
        (message,) = owed(told)
        assert message.delivered_at is not None
        assert message.due_at is None

    @pytest.mark.parametrize("status", [500, 410])
    def test_a_failure_that_is_known_late_changes_nothing(
        self, told: Bench, receiver: Receiver, later: Later, status: int
    ) -> None:
        ask(told, receiver)
        with told.ctx.ledger.begin() as tx:
            (early,) = take(tx, POLICY, 100, POLICY.slots, ()).messages
        later(POLICY.lease_s + 1)
        with told.ctx.ledger.begin() as tx:
            take(tx, POLICY, 100, POLICY.slots, ())
        before = owed(told)
        receiver.answers = [status]
        deliver(told.ctx, early)
        assert owed(told) == before  # somebody else has it by now


class TestSecrets:
    def test_two_sign_while_one_takes_the_others_place(self, told: Bench, receiver: Receiver, later: Later) -> None:
        ask(told, receiver)
        send(told)
        old = secret(told)
        with told.ctx.ledger.begin() as tx:
            new = rotate(tx, "default", overlap_s=HOUR_S)[0].text
        ask(told, receiver)
        send(told)
        later(2 * HOUR_S)
        told.ctx.pulse.redis.flushdb()
        cancel(told.ctx, told.submit(callback_url=f"{receiver.url}/hook"))
        send(told)
        before, between, after = receiver.calls
        for call, right in ((before, old), (between, old), (between, new), (after, new)):
            assert call.verified(right)["type"].startswith("job.")
        for call, wrong in ((before, new), (after, old)):
            with pytest.raises(Exception, match="No matching signature"):
                call.verified(wrong)

    def test_each_tenant_has_its_own(self, told: Bench, receiver: Receiver) -> None:
        for tenant in ("a", "b"):
            cancel(told.ctx, told.submit(callback_url=f"{receiver.url}/hook", tenant=tenant))
        send(told)
        mine = {each.said["data"]["tenant"]: each for each in receiver.calls}
        assert mine["a"].verified(secret(told, "a"))
        with pytest.raises(Exception, match="No matching signature"):
            mine["a"].verified(secret(told, "b"))

    def test_neither_they_nor_addresses_are_logged(
        self, told: Bench, receiver: Receiver, capfd: pytest.CaptureFixture[str]
    ) -> None:
        receiver.answers = [500, 410]
        ask(told, receiver, "/canary?token=canary")
        cancel(told.ctx, told.submit(callback_url=f"{receiver.url}/canary"))
        send(told)
        said = "".join(capfd.readouterr())
        assert "delivery_" in said
        assert "canary" not in said
        assert receiver.place not in said
        assert secret(told) not in said
        assert "canary" not in repr(owed(told))
