"""Webhooks as callers and operators see them: by the gateway, and by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from standardwebhooks.webhooks import Webhook

from tasks.domain.api_keys import Scope
from tasks.ledger import tables
from tasks.operating import cancel
from tests.support.bench import Bench
from tests.support.doors import EVERYDAY, Door, client, new_key
from tests.support.every_way import send_webhooks
from tests.support.receiver import receiving
from workers.cli.exits import FAILED, INVALID

Say = Callable[..., Result]


def door(bench: Bench, tenant: str = "film", *more: Scope) -> Door:
    return Door(client(), new_key(bench.ctx.ledger, tenant, (*EVERYDAY, *more)))


def told(bench: Bench, *statuses: int, tenant: str = "film") -> list[str]:
    """A message of the tenant for each of these answers; gives their jobs' ids."""
    job_ids = []
    with receiving() as receiver:
        for status in statuses:
            receiver.answers.append(status)
            job_ids.append(bench.submit(callback_url=f"{receiver.url}/canary", tenant=tenant))
            cancel(bench.ctx, job_ids[-1])
            send_webhooks(bench)
    return job_ids


def listed(at: Door, query: str = "") -> list[dict[str, Any]]:
    answer = at.get(f"/v1/webhooks{query}")
    assert answer.status_code == 200
    assert b"canary" not in answer.data
    found: list[dict[str, Any]] = answer.get_json()["webhooks"]
    return found


class TestByTheGateway:
    def test_they_are_listed_with_what_became_of_them(self, bench: Bench) -> None:
        arrived, put_off, dead = told(bench, 204, 500, 410)
        found = {each["job_id"]: each for each in listed(door(bench))}
        assert {job: each["state"] for job, each in found.items()} == {arrived: "arrived", put_off: "due", dead: "dead"}
        assert (found[put_off]["error"], found[put_off]["tries"]) == ("HTTP 500", 1)
        assert found[put_off]["due_at"] is not None
        assert found[arrived]["type"] == "job.cancelled"
        assert [each["job_id"] for each in listed(door(bench), "?state=dead")] == [dead]
        assert [each["job_id"] for each in listed(door(bench), f"?job_id={arrived}")] == [arrived]

    def test_they_come_in_pages(self, bench: Bench) -> None:
        jobs = told(bench, 204, 204, 204)
        seen, query = [], "?limit=2"
        for _ in range(3):
            page = door(bench).get(f"/v1/webhooks{query}").get_json()
            seen += [each["job_id"] for each in page["webhooks"]]
            if page["next_cursor"] is None:
                break
            query = f"?limit=2&cursor={page['next_cursor']}"
        assert seen == list(reversed(jobs))

    def test_one_that_is_dead_is_sent_again(self, bench: Bench) -> None:
        told(bench, 410)
        (message,) = listed(door(bench))
        assert door(bench).post(f"/v1/webhooks/{message['id']}/replay").status_code == 202
        (again,) = listed(door(bench))
        assert (again["state"], again["error"]) == ("due", None)

    def test_others_are_nobodys_business(self, bench: Bench) -> None:
        told(bench, 410)
        (message,) = listed(door(bench))
        stranger = door(bench, "stranger", Scope.ADMIN)
        assert listed(stranger) == []
        assert listed(stranger, f"?job_id={message['job_id']}") == []
        assert stranger.post(f"/v1/webhooks/{message['id']}/replay").status_code == 404
        assert listed(door(bench))[0]["state"] == "dead"

    def test_secrets_are_for_administrators(self, bench: Bench) -> None:
        for ask in (Door.get, Door.post):
            assert ask(door(bench), "/v1/webhooks/secrets").status_code == 403

    def test_the_first_secret_is_made_when_it_is_asked_for_and_signs_what_is_sent(self, bench: Bench) -> None:
        admin = door(bench, "film", Scope.ADMIN)
        (secret,) = admin.get("/v1/webhooks/secrets").get_json()["secrets"]
        assert secret["ends_at"] is None
        assert admin.get("/v1/webhooks/secrets").get_json()["secrets"] == [secret]
        Webhook(secret["secret"])
        with receiving() as receiver:
            cancel(bench.ctx, bench.submit(callback_url=receiver.url, tenant="film"))
            send_webhooks(bench)
            assert receiver.calls[0].verified(secret["secret"])["type"] == "job.cancelled"

    def test_a_new_secret_takes_the_old_ones_place(self, bench: Bench) -> None:
        admin = door(bench, "film", Scope.ADMIN)
        (old,) = admin.get("/v1/webhooks/secrets").get_json()["secrets"]
        answer = admin.post("/v1/webhooks/secrets", {"overlap_s": 60})
        assert answer.status_code == 201
        new, ending = answer.get_json()["secrets"]
        assert new["secret"] != old["secret"]
        assert (new["ends_at"], ending["secret"]) == (None, old["secret"])
        assert ending["ends_at"] is not None
        (last,) = admin.post("/v1/webhooks/secrets", {"overlap_s": 0}).get_json()["secrets"]
        assert last["secret"] not in (old["secret"], new["secret"])

    @pytest.mark.parametrize("body", [{"overlap_s": -1}, {"overlap_s": "1"}, {"overlap_s": True}, {"more": 1}, [1]])
    def test_what_is_asked_for_wrongly_is_refused(self, bench: Bench, body: Any) -> None:
        assert door(bench, "film", Scope.ADMIN).post("/v1/webhooks/secrets", body).status_code == 422


class TestByTheCommandLine:
    def test_they_are_listed_with_receivers_that_fail(self, bench: Bench, said: Say) -> None:
        assert "no such webhooks" in said("webhooks").stdout
        arrived, put_off = told(bench, 204, 500)
        text = said("webhooks").stdout
        assert arrived in text
        assert "HTTP 500" in text
        assert "failing receiver" in text
        assert "canary" not in text
        shown = json.loads(said("webhooks", "--state", "due", "--json").stdout)
        assert [each["job_id"] for each in shown["webhooks"]] == [put_off]
        assert shown["failing_receivers"][0]["failures"] == 1
        assert "canary" not in json.dumps(shown)

    def test_a_tenants_and_a_jobs_are_listed_alone(self, bench: Bench, said: Say) -> None:
        (mine,) = told(bench, 204, tenant="film")
        (other,) = told(bench, 204, tenant="ads")
        for words, job_id in ((("--tenant", "ads"), other), (("--job", mine), mine)):
            found = json.loads(said("webhooks", *words, "--json").stdout)["webhooks"]
            assert [each["job_id"] for each in found] == [job_id]

    def test_the_dead_are_sent_again_all_or_a_tenants(self, bench: Bench, said: Say) -> None:
        told(bench, 410, tenant="film")
        told(bench, 410, tenant="ads")
        assert said("webhooks", "replay", "--dead", "--tenant", "ads").stdout == "1 due now.\n"
        assert sorted(bool(row.due_at) for row in bench.rows(tables.webhooks)) == [False, True]
        assert said("webhooks", "replay", "--dead").stdout == "1 due now.\n"

    def test_one_is_sent_again_by_its_id(self, bench: Bench, said: Say) -> None:
        told(bench, 204, 204)
        first = json.loads(said("webhooks", "--json").stdout)["webhooks"][0]["id"]
        said("webhooks", "replay", first)
        due = [row.id for row in bench.rows(tables.webhooks) if row.due_at is not None]
        assert due == [first]

    def test_what_is_not_there_is_said(self, bench: Bench, said: Say) -> None:
        told(bench, 204)
        whole = json.loads(said("webhooks", "--json").stdout)["webhooks"][0]["id"]
        refused = said("webhooks", "replay", whole, whole[:8], code=FAILED).output
        assert "1 of 2 not known, 1 due now: give the whole id of each" in refused
        said("webhooks", "replay", code=INVALID)
        said("webhooks", "replay", "x", "--dead", code=INVALID)

    def test_secrets_are_shown_and_rotated(self, bench: Bench, said: Say) -> None:
        old = said("webhooks", "secrets", "--tenant", "film").stdout.strip()
        Webhook(old)
        lines = said("webhooks", "rotate", "--tenant", "film").stdout.splitlines()
        assert lines[0] != old
        assert lines[1].startswith(f"{old}  (until ")
        shown = json.loads(said("webhooks", "secrets", "--tenant", "film", "--json").stdout)["secrets"]
        assert [each["text"] for each in shown] == [lines[0], old]
