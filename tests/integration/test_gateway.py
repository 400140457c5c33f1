"""The native door: who gets in, what is accepted and when, and what is told. Of other tenants: `test_two_tenants`."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from schemas import data_url
from schemas.jobs import State
from tasks import context
from tasks.domain.api_keys import Scope
from tasks.ledger import Ledger, LedgerError, tables
from tasks.ledger.admission import set_tenant
from tasks.ledger.api_keys import list_api_keys, revoke_api_key
from tasks.pulse import Pulse
from tests.support.bench import MODEL, URL, Bench
from tests.support.doors import Door, client, new_key
from tests.support.pictures import picture
from tests.support.situations import FILM_BYTES, completed
from workers.cli import cli
from workers.gateway import keytext
from workers.gateway.app import document
from workers.limits import GatewayLimits

REQUEST = {"model": MODEL, "first_frame_image": URL}


@pytest.fixture
def door(bench: Bench) -> Door:
    return Door(client(), new_key(bench.ctx.ledger))


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    document: dict[str, Any] = json.loads(answer.data)
    assert (document["status"], document["code"], document["type"]) == (status, code, f"urn:reelworks:problem:{code}")
    assert document["title"]
    return document


class TestKeys:
    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "Bearer",
            "Bearer rw_0123456789ab_short",
            "Basic cm9vdDpyb290",
            f"Bearer rw_0123456789ab_{'x' * 43}",
            "Bearer \u00e4",
        ],
    )
    def test_without_one_nothing_opens(self, door: Door, header: str | None) -> None:
        headers = {} if header is None else {"Authorization": header}
        answer = Door(door.client).get("/v1/jobs", headers=headers)
        problem(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_the_right_id_with_another_secret_opens_nothing(self, door: Door) -> None:
        assert door.key is not None
        forged = f"rw_{door.key.split('_')[1]}_{'A' * 43}"
        problem(Door(door.client, forged).get("/v1/jobs"), 401, "unauthorized")

    def test_one_that_has_ended_opens_nothing(self, bench: Bench, door: Door) -> None:
        ended = new_key(bench.ctx.ledger, ends_in_s=-1)
        problem(Door(door.client, ended).get("/v1/jobs"), 401, "unauthorized")
        assert Door(door.client, new_key(bench.ctx.ledger, ends_in_s=600)).get("/v1/jobs").status_code == 200

    def test_one_that_was_revoked_opens_nothing_from_then_on(self, bench: Bench, door: Door) -> None:
        assert door.get("/v1/jobs").status_code == 200
        assert door.key is not None
        with bench.ctx.ledger.begin() as tx:
            assert revoke_api_key(tx, door.key.split("_")[1])
        problem(door.get("/v1/jobs"), 401, "unauthorized")

    def test_it_opens_what_its_scopes_say_and_no_more(self, bench: Bench, door: Door) -> None:
        reads = Door(door.client, new_key(bench.ctx.ledger, scopes=(Scope.READ,)))
        submits = Door(door.client, new_key(bench.ctx.ledger, scopes=(Scope.SUBMIT,)))
        assert reads.get("/v1/jobs").status_code == 200
        problem(reads.post("/v1/jobs", REQUEST), 403, "forbidden")
        problem(submits.get("/v1/jobs"), 403, "forbidden")
        assert submits.post("/v1/jobs", REQUEST).status_code == 202

    def test_the_database_holds_no_secret(self, bench: Bench, door: Door) -> None:
        assert door.key is not None
        secret = door.key.split("_", 2)[2]
        (row,) = bench.rows(tables.api_keys)
        assert secret not in str(row)
        assert keytext.read(door.key) is not None
        with bench.ctx.ledger.read() as tx:
            assert secret not in str(list_api_keys(tx))


class TestSubmit:
    def test_what_was_accepted_is_committed_and_can_be_followed(self, bench: Bench, door: Door) -> None:
        answer = door.post("/v1/jobs", {**REQUEST, "prompt": "[pan left] a boat", "metadata": {"scene": 7}})
        assert answer.status_code == 202
        job = answer.get_json()
        assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
        assert (job["state"], job["tenant"], job["metadata"]) == ("queued", "film", {"scene": 7})
        assert [event["event"] for event in job["events"]] == ["accept"]
        assert bench.state(job["id"]) is State.QUEUED
        view = bench.view(job["id"])
        assert view is not None
        assert view.state is State.QUEUED
        assert door.get(answer.headers["Location"]).get_json() == job

    def test_it_goes_the_whole_way(self, bench: Bench, door: Door, quick_films: None) -> None:
        job_id = door.post("/v1/jobs", REQUEST).get_json()["id"]
        completed(bench, job_id)
        job = door.get(f"/v1/jobs/{job_id}").get_json()
        assert (job["state"], job["charged_usd"], job["progress"]) == ("completed", "0.28", 1.0)
        assert job["outputs"][0]["url"] == f"/v1/jobs/{job_id}/outputs/0"
        assert door.get(job["outputs"][0]["url"]).data == FILM_BYTES

    def test_every_rule_that_is_broken_is_named_and_nothing_is_stored(self, bench: Bench, door: Door) -> None:
        answer = door.post("/v1/jobs", {**REQUEST, "duration": "6", "resolution": "4K", "colour": "red"})
        document = problem(answer, 422, "request_invalid")
        assert {(each["field"], each["code"]) for each in document["errors"]} == {
            ("duration", "not_an_integer"),
            ("resolution", "resolution_unknown"),
            ("colour", "unknown_field"),
        }
        assert bench.rows(tables.jobs) == []

    @pytest.mark.parametrize(
        ("options", "status", "code"),
        [
            ({"data": b"{", "content_type": "application/json"}, 400, "not_json"),
            ({"data": b"\xff", "content_type": "application/json"}, 400, "not_json"),
            ({"data": b"[" * 100_000, "content_type": "application/json"}, 400, "not_json"),
            ({"data": b"a=1", "content_type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
            ({"json": []}, 422, "request_invalid"),
            ({"json": None}, 422, "request_invalid"),
            ({"data": b""}, 422, "request_invalid"),
        ],
        ids=["half", "no text", "deep", "form", "list", "null", "empty"],
    )
    def test_what_is_no_request_is_said_to_be_none(
        self, door: Door, options: dict[str, Any], status: int, code: str
    ) -> None:
        problem(door.ask("POST", "/v1/jobs", **options), status, code)

    def test_a_body_that_is_too_large_is_not_read(self, bench: Bench) -> None:
        small = Door(client(GatewayLimits(body_max_bytes=1000)), new_key(bench.ctx.ledger))
        refused = problem(small.post("/v1/jobs", {**REQUEST, "prompt": "x" * 2000}), 413, "too_large")
        assert refused["detail"] == "It may have 1,000 bytes at most."

    def test_a_body_that_comes_in_chunks_is_too_large_at_the_same_size(self, bench: Bench) -> None:
        small = Door(client(GatewayLimits(body_max_bytes=1000)), new_key(bench.ctx.ledger))
        for size, status in ((999, 400), (1001, 413)):
            chunked = {"wsgi.input": io.BytesIO(b"x" * size), "wsgi.input_terminated": True}
            answer = small.ask("POST", "/v1/jobs", content_type="application/json", environ_overrides=chunked)
            assert answer.status_code == status

    def test_a_picture_is_in_the_store_when_the_job_is_committed(self, bench: Bench, door: Door) -> None:
        answer = door.post("/v1/jobs", {**REQUEST, "first_frame_image": data_url(picture())})
        assert answer.status_code == 202
        (row,) = bench.rows(tables.jobs)
        name = row.request["first_frame_image"].removeprefix("input:").split(":")[0]
        sha256, _, extension = name.partition(".")
        assert bench.ctx.store.get_input(sha256, extension) == picture()

    def test_the_same_key_is_the_same_job(self, bench: Bench, door: Door) -> None:
        first = door.post("/v1/jobs", REQUEST, headers={"Idempotency-Key": "scene-7"}).get_json()
        again = door.post("/v1/jobs", {**REQUEST, "idempotency_key": "scene-7"}).get_json()
        assert first["id"] == again["id"]
        assert len(bench.rows(tables.jobs)) == 1

    def test_it_is_the_same_job_at_the_other_door_too(self, bench: Bench, door: Door) -> None:
        job_id = bench.submit(tenant="film", idempotency_key="scene-7")
        assert door.post("/v1/jobs", REQUEST, headers={"Idempotency-Key": "scene-7"}).get_json()["id"] == job_id

    def test_the_same_key_of_another_tenant_is_another_job(self, bench: Bench, door: Door) -> None:
        rival = Door(door.client, new_key(bench.ctx.ledger, "rival"))
        keyed = {"headers": {"Idempotency-Key": "scene-7"}}
        ours, theirs = (each.post("/v1/jobs", REQUEST, **keyed).get_json()["id"] for each in (door, rival))
        assert ours != theirs

    def test_the_same_key_with_another_request_is_a_conflict(self, bench: Bench, door: Door) -> None:
        first = door.post("/v1/jobs", REQUEST, headers={"Idempotency-Key": "scene-7"}).get_json()
        other = door.post("/v1/jobs", {**REQUEST, "duration": 10}, headers={"Idempotency-Key": "scene-7"})
        assert problem(other, 409, "idempotency_conflict")["job_id"] == first["id"]

    def test_two_keys_in_one_request_are_one_too_many(self, door: Door) -> None:
        answer = door.post("/v1/jobs", {**REQUEST, "idempotency_key": "a"}, headers={"Idempotency-Key": "b"})
        assert problem(answer, 422, "request_invalid")["errors"][0]["code"] == "two_keys"

    def test_another_tenants_name_is_refused(self, bench: Bench, door: Door) -> None:
        answer = door.post("/v1/jobs", {**REQUEST, "tenant": "rival"})
        assert problem(answer, 422, "request_invalid")["errors"] == [
            {"field": "tenant", "code": "not_yours", "message": "this key is tenant film's: leave the field out"}
        ]
        assert bench.rows(tables.jobs) == []

    def test_whoever_prefers_to_wait_gets_the_end(self, bench: Bench, door: Door, quick_films: None) -> None:
        job_id = door.post("/v1/jobs", REQUEST, headers={"Idempotency-Key": "k"}).get_json()["id"]
        answers: list[Any] = []
        waiting = {"Idempotency-Key": "k", "Prefer": "respond-async, wait=60"}
        caller = threading.Thread(target=lambda: answers.append(door.post("/v1/jobs", REQUEST, headers=waiting)))
        caller.start()
        completed(bench, job_id)
        caller.join(60)
        (answer,) = answers
        assert (answer.status_code, answer.get_json()["state"]) == (200, "completed")
        assert answer.headers["Preference-Applied"] == "wait"

    def test_a_wait_that_is_over_leaves_the_job_as_it_is(self, door: Door) -> None:
        answer = door.post("/v1/jobs", REQUEST, headers={"Prefer": "wait=1"})
        assert (answer.status_code, answer.get_json()["state"]) == (202, "queued")

    def test_a_database_that_is_away_during_a_wait_does_not_make_it_fail(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: Any) -> Any:
            raise LedgerError

        monkeypatch.setattr("workers.gateway.following.version_of", away)
        answer = door.post("/v1/jobs", REQUEST, headers={"Prefer": "wait=1"})
        assert (answer.status_code, answer.get_json()["state"]) == (202, "queued")

    def test_while_too_many_wait_the_next_gets_its_answer_at_once(self, bench: Bench) -> None:
        door = Door(client(GatewayLimits(waits_most=1, threads=2)), new_key(bench.ctx.ledger))
        job_id = door.post("/v1/jobs", REQUEST).get_json()["id"]
        held = door.get(f"/v1/jobs/{job_id}/events", buffered=False)
        answer = door.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=60"})
        assert answer.status_code == 200
        problem(door.get(f"/v1/jobs/{job_id}/events"), 503, "too_many_streams")
        held.close()
        again = door.get(f"/v1/jobs/{job_id}/events", buffered=False)
        assert again.status_code == 200
        again.close()


class TestLimits:
    def test_a_tenant_makes_no_more_requests_than_it_may(self, bench: Bench) -> None:
        door = Door(client(GatewayLimits(processes=1)), new_key(bench.ctx.ledger))
        rival = Door(door.client, new_key(bench.ctx.ledger, "rival"))
        with bench.ctx.ledger.begin() as tx:
            set_tenant(tx, "film", requests_per_minute=12)
        answers = [door.get("/v1/jobs") for _ in range(3)]
        assert [each.status_code for each in answers[:2]] == [200, 200]
        problem(answers[2], 429, "too_many_requests")
        assert int(answers[2].headers["Retry-After"]) >= 1
        assert rival.get("/v1/jobs").status_code == 200

    def test_a_tenant_has_no_more_jobs_under_way_than_it_may(self, bench: Bench, door: Door) -> None:
        with bench.ctx.ledger.begin() as tx:
            set_tenant(tx, "film", jobs_limit=2)
        first = door.post("/v1/jobs", REQUEST).get_json()["id"]
        problem(door.post("/v1/batches", {"jobs": [REQUEST, REQUEST]}), 429, "too_many_jobs")
        keyed = {"headers": {"Idempotency-Key": "second"}}
        second = door.post("/v1/jobs", REQUEST, **keyed)
        assert second.status_code == 202
        answer = door.post("/v1/jobs", REQUEST)
        problem(answer, 429, "too_many_jobs")
        assert answer.headers["Retry-After"]
        assert door.post("/v1/jobs", REQUEST, **keyed).get_json()["id"] == second.get_json()["id"]
        door.delete(f"/v1/jobs/{first}")
        assert door.post("/v1/jobs", REQUEST).status_code == 202
        assert len(bench.rows(tables.jobs)) == 3


class TestOutages:
    def test_requests_are_accepted_while_redis_is_away(self, bench: Bench, door: Door) -> None:
        gone = Pulse("redis://127.0.0.1:1/0", timeout_s=0.5)
        away = replace(bench.ctx, pulse=gone)
        context.install(lambda: away)
        job_id = door.post("/v1/jobs", REQUEST).get_json()["id"]
        assert bench.state(job_id) is State.QUEUED
        assert door.get(f"/v1/jobs/{job_id}").get_json()["state"] == "queued"
        gone.close()

    def test_progress_comes_from_redis_and_is_not_waited_for(self, bench: Bench, door: Door) -> None:
        job_id = bench.generating(tenant="film")
        bench.look()  # the provider says: half of it
        assert door.get(f"/v1/jobs/{job_id}").get_json()["progress"] == 0.5
        gone = Pulse("redis://127.0.0.1:1/0", timeout_s=0.5)
        away = replace(bench.ctx, pulse=gone)
        context.install(lambda: away)
        for _ in range(2):
            assert door.get(f"/v1/jobs/{job_id}").get_json()["progress"] is None
        gone.close()

    def test_while_the_database_is_away_it_says_so_and_when_to_try_again(self, bench: Bench, door: Door) -> None:
        broken = Ledger("postgresql+psycopg://127.0.0.1:1/none")
        away = replace(bench.ctx, ledger=broken)
        context.install(lambda: away)
        for answer in (door.post("/v1/jobs", REQUEST), door.get("/readyz")):
            problem(answer, 503, "unavailable")
            assert answer.headers["Retry-After"]
        assert door.get("/livez").status_code == 200
        broken.close()

    def test_while_the_disk_is_full_nothing_is_accepted(self, bench: Bench, door: Door) -> None:
        bench.ctx.store.low_bytes = 1 << 62  # type: ignore[attr-defined]
        problem(door.post("/v1/jobs", REQUEST), 503, "store_full")
        problem(door.get("/readyz"), 503, "store_full")
        assert bench.rows(tables.jobs) == []

    def test_an_error_of_our_own_says_nothing_of_what_was_sent(
        self, bench: Bench, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: Any) -> Any:
            raise RuntimeError("canary")

        monkeypatch.setattr("workers.gateway.taking.enter", broken)
        answer = door.post("/v1/jobs", {**REQUEST, "prompt": "canary"})
        problem(answer, 500, "internal")
        assert b"canary" not in answer.data


class TestBatches:
    def test_all_are_accepted_together(self, bench: Bench, door: Door) -> None:
        answer = door.post("/v1/batches", {"jobs": [REQUEST, {**REQUEST, "duration": 10}]})
        assert answer.status_code == 202
        batch = answer.get_json()
        assert [job["duration"] for job in batch["jobs"]] == [6, 10]
        assert {job["batch_id"] for job in batch["jobs"]} == {batch["batch_id"]}
        listed = door.get(f"/v1/jobs?batch_id={batch['batch_id']}").get_json()["jobs"]
        assert {job["id"] for job in listed} == {job["id"] for job in batch["jobs"]}
        assert len(bench.rows(tables.jobs)) == 2

    def test_one_that_is_repeated_is_the_first_one(self, bench: Bench, door: Door) -> None:
        jobs = [{**REQUEST, "idempotency_key": key} for key in ("a", "b")]
        first, again = (door.post("/v1/batches", {"jobs": jobs}).get_json() for _ in range(2))
        assert again == first
        assert len(bench.rows(tables.jobs)) == 2

    def test_one_of_old_and_new_jobs_has_an_id_of_its_own(self, bench: Bench, door: Door) -> None:
        old, new = ({**REQUEST, "idempotency_key": key} for key in ("a", "b"))
        first, second = (door.post("/v1/batches", {"jobs": jobs}).get_json() for jobs in ([old], [old, new]))
        assert [job["batch_id"] for job in second["jobs"]] == [first["batch_id"], second["batch_id"]]
        assert second["batch_id"] != first["batch_id"]

    def test_one_that_breaks_rules_keeps_all_out(self, bench: Bench, door: Door) -> None:
        answer = door.post("/v1/batches", {"jobs": [REQUEST, {**REQUEST, "duration": 7}, 3]})
        document = problem(answer, 422, "request_invalid")
        assert [each["field"] for each in document["errors"]] == ["jobs.1.duration", "jobs.2.request"]
        assert bench.rows(tables.jobs) == []

    def test_a_conflict_keeps_all_out(self, bench: Bench, door: Door) -> None:
        door.post("/v1/jobs", REQUEST, headers={"Idempotency-Key": "k"})
        jobs = [REQUEST, {**REQUEST, "duration": 10, "idempotency_key": "k"}]
        problem(door.post("/v1/batches", {"jobs": jobs}), 409, "idempotency_conflict")
        assert len(bench.rows(tables.jobs)) == 1

    @pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": {}}, [], {"jobs": [REQUEST] * 101}])
    def test_what_is_no_batch_is_refused(self, door: Door, body: Any) -> None:
        problem(door.post("/v1/batches", body), 422, "request_invalid")


class TestLists:
    def test_pages_follow_one_another_without_gap_or_repetition(self, bench: Bench, door: Door) -> None:
        made = [door.post("/v1/jobs", REQUEST).get_json()["id"] for _ in range(7)]
        found, query = [], "limit=3"
        for _ in range(3):
            page = door.get(f"/v1/jobs?{query}").get_json()
            found += [job["id"] for job in page["jobs"]]
            query = f"limit=3&cursor={page['next_cursor']}"
        assert page["next_cursor"] is None
        assert found == made[::-1]

    def test_they_can_be_asked_for_by_state(self, bench: Bench, door: Door) -> None:
        queued, cancelled = (door.post("/v1/jobs", REQUEST).get_json()["id"] for _ in range(2))
        door.delete(f"/v1/jobs/{cancelled}")
        page = door.get("/v1/jobs?state=cancelled").get_json()
        assert [job["id"] for job in page["jobs"]] == [cancelled]
        both = door.get("/v1/jobs?state=cancelled&state=queued").get_json()
        assert {job["id"] for job in both["jobs"]} == {queued, cancelled}

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("limit=0", "limit"),
            ("limit=x", "limit"),
            ("state=asleep", "state"),
            ("cursor=x", "cursor"),
            ("cursor=%C3%A4", "cursor"),
            ("tenant=other", "tenant"),
        ],
    )
    def test_a_question_that_makes_no_sense_is_refused(self, door: Door, query: str, field: str) -> None:
        document = problem(door.get(f"/v1/jobs?{query}"), 422, "request_invalid")
        assert document["errors"][0]["field"] == field

    def test_a_state_that_there_is_none_of_is_answered_with_those_that_there_are(self, door: Door) -> None:
        document = problem(door.get("/v1/jobs?state=queued&state=asleep"), 422, "request_invalid")
        assert document["errors"][0]["message"].startswith("Must be one of: queued, admitted")


class TestChanges:
    def test_a_job_is_cancelled(self, bench: Bench, door: Door) -> None:
        job_id = door.post("/v1/jobs", REQUEST).get_json()["id"]
        answer = door.delete(f"/v1/jobs/{job_id}")
        assert (answer.status_code, answer.get_json()["state"]) == (202, "cancelled")
        problem(door.delete(f"/v1/jobs/{job_id}"), 409, "not_possible")

    def test_a_failed_job_is_tried_again(self, bench: Bench, door: Door) -> None:
        job_id = door.post("/v1/jobs", {**REQUEST, "deadline_s": 1}).get_json()["id"]
        problem(door.post(f"/v1/jobs/{job_id}/retry"), 409, "not_possible")
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(deadline_at=tables.jobs.c.accepted_at))
        bench.turn("admit")
        assert bench.state(job_id) is State.FAILED
        answer = door.post(f"/v1/jobs/{job_id}/retry")
        assert (answer.status_code, answer.get_json()["state"]) == (202, "queued")

    def test_to_create_anew_takes_the_scope_for_it(self, bench: Bench, door: Door) -> None:
        job_id = door.post("/v1/jobs", REQUEST).get_json()["id"]
        problem(door.post(f"/v1/jobs/{job_id}/retry", {"anew": True}), 403, "forbidden")
        admin = Door(door.client, new_key(bench.ctx.ledger, scopes=(Scope.SUBMIT, Scope.ADMIN)))
        problem(admin.post(f"/v1/jobs/{job_id}/retry", {"anew": True}), 409, "not_possible")  # it has not failed

    @pytest.mark.parametrize("body", [{"anew": 1}, {"again": True}, []])
    def test_how_to_try_again_is_read_strictly(self, door: Door, body: Any) -> None:
        job_id = door.post("/v1/jobs", REQUEST).get_json()["id"]
        problem(door.post(f"/v1/jobs/{job_id}/retry", body), 422, "request_invalid")


class TestOutputs:
    @pytest.fixture
    def film(self, bench: Bench, door: Door, quick_films: None) -> str:
        job_id = door.post("/v1/jobs", REQUEST).get_json()["id"]
        completed(bench, job_id)
        return f"/v1/jobs/{job_id}/outputs/0"

    def test_a_film_is_sent_as_what_it_is(self, door: Door, film: str) -> None:
        answer = door.get(film)
        assert (answer.status_code, answer.content_type, answer.data) == (200, "video/mp4", FILM_BYTES)
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert "private" in answer.headers["Cache-Control"]

    def test_a_part_of_it_is_sent_on_demand(self, door: Door, film: str) -> None:
        answer = door.get(film, headers={"Range": "bytes=10-19"})
        assert (answer.status_code, answer.data) == (206, FILM_BYTES[10:20])
        beyond = door.get(film, headers={"Range": "bytes=999999-"})
        problem(beyond, 416, "range_not_satisfiable")

    def test_whoever_has_it_is_told_so(self, door: Door, film: str) -> None:
        etag = door.get(film).headers["ETag"]
        assert door.get(film, headers={"If-None-Match": etag}).status_code == 304

    def test_what_is_not_there_is_not_found(self, bench: Bench, door: Door, film: str) -> None:
        problem(door.get(film[:-1] + "1"), 404, "not_found")
        (row,) = bench.rows(tables.outputs)
        file = bench.ctx.store.handed_out(row.path)
        assert isinstance(file, Path)
        file.unlink()
        problem(door.get(film), 404, "not_found")

    def test_a_film_that_is_not_kept_any_more_says_so_at_once(self, bench: Bench, door: Door, film: str) -> None:
        (job_id,) = [row.id for row in bench.rows(tables.jobs)]
        assert [each["kept"] for each in door.get(f"/v1/jobs/{job_id}").get_json()["outputs"]] == [True]
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(pruned_at=tx.now))
        # The file is still there for a moment: who removes it comes next.
        assert problem(door.get(film), 404, "not_found")["detail"] == "The file is not kept any more."
        assert [each["kept"] for each in door.get(f"/v1/jobs/{job_id}").get_json()["outputs"]] == [False]


class TestEvents:
    def test_they_come_as_they_happen_and_end_with_the_job(self, bench: Bench, door: Door, quick_films: None) -> None:
        job_id = door.post("/v1/jobs", REQUEST).get_json()["id"]
        stream = door.get(f"/v1/jobs/{job_id}/events", buffered=False)
        assert stream.content_type.startswith("text/event-stream")
        ending = threading.Thread(target=completed, args=(bench, job_id))
        ending.start()
        events = told(stream)
        ending.join(60)
        assert [event["state"] for event in events][-1] == "completed"
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))

    def test_whoever_comes_back_hears_the_rest(self, bench: Bench, door: Door, quick_films: None) -> None:
        job_id = door.post("/v1/jobs", REQUEST).get_json()["id"]
        completed(bench, job_id)
        whole = told(door.get(f"/v1/jobs/{job_id}/events"))
        rest = told(door.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "3"}))
        assert rest == whole[3:]
        assert rest

    def test_an_id_that_is_none_is_refused(self, door: Door) -> None:
        job_id = door.post("/v1/jobs", REQUEST).get_json()["id"]
        answer = door.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "x"})
        problem(answer, 422, "request_invalid")


def told(stream: Any) -> list[dict[str, Any]]:
    lines = stream.get_data(as_text=True).splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


class TestMoney:
    def test_an_estimate_costs_nothing(self, bench: Bench, door: Door) -> None:
        answer = door.post("/v1/estimate", {**REQUEST, "resolution": "1080P"})
        assert answer.get_json() == {"estimate_usd": "0.48", "expected_usd": "0.48", "warnings": []}
        assert bench.rows(tables.jobs) == []

    def test_what_was_charged_is_summed_up(self, bench: Bench, door: Door, quick_films: None) -> None:
        job_id = door.post("/v1/jobs", REQUEST).get_json()["id"]
        completed(bench, job_id)
        sums = door.get("/v1/usage").get_json()
        total = {"name": "total", "charges": 1, "amount_usd": "0.28", "estimated_usd": "0.00"}
        assert sums["total"] == total
        assert [row["name"] for row in sums["by_model"]] == [MODEL]
        assert door.get("/v1/usage?until=2020-01-01").get_json()["total"]["charges"] == 0
        assert door.get("/v1/usage?until=9999-12-31").get_json()["total"]["charges"] == 1

    @pytest.mark.parametrize("query", ["since=2026-02-02&until=2026-02-01", "until=today", "till=2026-02-01"])
    def test_days_that_make_no_sense_are_refused(self, door: Door, query: str) -> None:
        (error,) = problem(door.get(f"/v1/usage?{query}"), 422, "request_invalid")["errors"]
        assert error["field"] in ("until", "till")

    def test_they_come_as_a_table_too(self, bench: Bench, door: Door, quick_films: None) -> None:
        job_id = door.post("/v1/jobs", REQUEST).get_json()["id"]
        completed(bench, job_id)
        answer = door.get("/v1/usage?by=model", headers={"Accept": "text/csv"})
        assert answer.content_type == "text/csv; charset=utf-8"
        assert answer.text.splitlines() == ["name,charges,amount_usd,estimated_usd", f"{MODEL},1,0.28,0.00"]


class TestAtLarge:
    def test_what_is_not_there_is_a_problem_too(self, door: Door) -> None:
        problem(door.get("/v1/nothing"), 404, "not_found")
        answer = door.ask("PATCH", "/v1/jobs")
        problem(answer, 405, "method_not_allowed")
        assert "GET" in answer.headers["Allow"]

    def test_every_answer_can_be_named(self, door: Door) -> None:
        ids = {door.get(path).headers["Request-Id"] for path in ("/livez", "/v1/jobs", "/v1/nothing")}
        assert len(ids) == 3

    def test_the_document_is_served_and_is_the_one_that_is_printed(self, door: Door) -> None:
        served = Door(door.client).get("/openapi.json").get_json()
        assert served == document() == json.loads(CliRunner().invoke(cli, ["openapi"]).stdout)
        assert served["openapi"].startswith("3.1")

    def test_it_says_that_it_is_ready(self, door: Door) -> None:
        assert door.get("/readyz").get_json() == {"database": "ok", "store": "ok"}
