"""The drop-in door: the provider's routes and envelopes, as its clients know them."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest

from schemas.jobs import State
from tasks.create import create
from tasks.domain.answers import Failed
from tasks.forms.links import Links
from tasks.ledger import tables
from tests.support.bench import MODEL, URL, Bench
from tests.support.doors import SIGNS, Door, client, new_key
from tests.support.situations import FILM, FILM_BYTES, completed

CREATE = "/model/v1/generation"
BODY = {"model": MODEL, "input": [{"params": {"first_frame_image": URL, "prompt": "a boat"}}]}


@pytest.fixture
def door(bench: Bench) -> Door:
    return Door(client(), new_key(bench.ctx.ledger))


def shown(door: Door, task_id: str) -> dict[str, Any]:
    answer = door.get(f"{CREATE}/task/{task_id}")
    assert answer.status_code == 200
    task: dict[str, Any] = answer.get_json()
    return task


def refused(answer: Any, status: int) -> dict[str, Any]:
    assert (answer.status_code, answer.content_type) == (status, "application/json")
    (name,) = answer.get_json()
    assert name == "error"
    error: dict[str, Any] = answer.get_json()["error"]
    assert type(error["code"]) is int
    assert error["message"]
    return error


class TestTasks:
    def test_a_task_is_created_polled_and_fetched(self, bench: Bench, door: Door, quick_films: None) -> None:
        task = door.post(CREATE, BODY).get_json()
        assert (task["status"], task["model"], task["progress"]) == ("in_progress", MODEL, 0.0)
        assert abs(task["created_at"] - time.time()) < 60
        completed(bench, task["id"])
        done = shown(door, task["id"])
        assert (done["status"], done["progress"], done["usage"]) == ("completed", 1.0, {"cost": "0.28"})
        (group,) = done["output"]
        (content,) = group["content"]
        assert content["type"] == "video"
        link = urlsplit(content["url"])
        assert (link.scheme, link.netloc) == ("http", "localhost")
        fetched = Door(door.client).get(f"{link.path}?{link.query}")  # as a client does: without a key
        assert (fetched.status_code, fetched.data) == (200, FILM_BYTES)

    def test_what_the_provider_failed_has_failed_with_its_words(self, bench: Bench, door: Door) -> None:
        task_id = bench.generating(tenant="film")
        bench.provider.polls.append(Failed("010004095", "no luck"))
        bench.look()
        task = shown(door, task_id)
        assert (task["status"], task["error"]) == ("failed", {"code": 10004095, "error_message": "no luck"})
        assert "output" not in task

    def test_what_was_cancelled_has_failed(self, door: Door) -> None:
        task_id = door.post(CREATE, BODY).get_json()["id"]
        door.delete(f"/v1/jobs/{task_id}")
        task = shown(door, task_id)
        assert (task["status"], task["error"]["error_message"]) == ("failed", "The job was cancelled.")

    def test_its_progress_is_the_providers(self, bench: Bench, door: Door) -> None:
        task_id = bench.generating(tenant="film")
        bench.look()
        assert shown(door, task_id)["progress"] == 0.5

    def test_names_beside_the_parameters_are_passed_over(self, bench: Bench, door: Door) -> None:
        extra = {**BODY, "moderation": True, "metadata": {"a": 1}}
        answer = door.post(CREATE, extra, headers={"X-Model": MODEL})
        assert answer.status_code == 200
        (row,) = bench.rows(tables.jobs)
        assert "metadata" not in row.request

    def test_repeating_it_with_the_same_key_is_safe(self, bench: Bench, door: Door) -> None:
        ids = {door.post(CREATE, BODY, headers={"Idempotency-Key": "k"}).get_json()["id"] for _ in range(2)}
        assert len(ids) == 1
        assert len(bench.rows(tables.jobs)) == 1

    def test_a_reported_discount_is_handed_on(self, bench: Bench, door: Door, quick_films: None) -> None:
        task_id = door.post(CREATE, BODY).get_json()["id"]
        completed(bench, task_id)
        with bench.ctx.ledger.begin() as tx:
            tx.execute(tables.charges.update().values(discount="0.9"))
        assert shown(door, task_id)["usage"] == {"cost": "0.28", "discount": 0.9}


class TestRefusals:
    @pytest.mark.parametrize(
        "body",
        [
            {},
            [],
            {**BODY, "input": []},
            {**BODY, "input": [{"params": {}}, {"params": {}}]},
            {**BODY, "input": [{}]},
            {**BODY, "model": "another"},
            {**BODY, "input": [{"params": {"first_frame_image": URL, "duration": 7}}]},
            {**BODY, "input": [{"params": {"first_frame_image": URL, "tenant": "rival"}}]},
            {**BODY, "input": [{"params": {"first_frame_image": URL, "priority": 3}}]},
        ],
    )
    def test_what_breaks_rules_is_refused_as_the_provider_would(self, bench: Bench, door: Door, body: Any) -> None:
        assert refused(door.post(CREATE, body), 400)["code"] == 2013
        assert bench.rows(tables.jobs) == []

    def test_without_a_key_nothing_opens(self, door: Door) -> None:
        assert refused(Door(door.client).post(CREATE, BODY), 401)["code"] == 1004
        assert refused(Door(door.client, "sk-of-the-provider").get(f"{CREATE}/task/x"), 401)["code"] == 1004

    def test_a_task_that_nobody_created_is_not_found(self, door: Door) -> None:
        refused(door.get(f"{CREATE}/task/nobodys"), 404)


class TestLinks:
    @pytest.fixture
    def job(self, bench: Bench, door: Door, quick_films: None) -> str:
        job_id: str = door.post("/v1/jobs", {"model": MODEL, "first_frame_image": URL}).get_json()["id"]
        completed(bench, job_id)
        return job_id

    def test_one_opens_its_own_output_alone(self, door: Door, job: str) -> None:
        anyone, links = Door(door.client), Links(SIGNS, ttl_s=600)
        assert anyone.get(links.path(job, 0)).status_code == 200
        for other in (links.path(job, 1), links.path("another", 0)):
            refused(anyone.get(f"/files/{job}/0?{urlsplit(other).query}"), 403)
        refused(anyone.get(links.path(job, 1)), 404)

    def test_one_that_has_expired_opens_nothing(self, door: Door, job: str) -> None:
        refused(Door(door.client).get(Links(SIGNS, ttl_s=-1).path(job, 0)), 403)

    @pytest.mark.parametrize(
        "query", ["", "expires=99999999999", "expires=x&signature=y", "expires=99999999999&signature=%C3%A4"]
    )
    def test_what_is_no_link_opens_nothing(self, door: Door, job: str, query: str) -> None:
        refused(Door(door.client).get(f"/files/{job}/0?{query}"), 403)

    def test_where_a_proxy_stands_before_it_links_name_the_proxy(self, bench: Bench, job: str) -> None:
        door = Door(client(public_url="https://films.example"), new_key(bench.ctx.ledger))
        url = shown(door, job)["output"][0]["content"][0]["url"]
        assert url.startswith(f"https://films.example/files/{job}/0?expires=")


def test_a_charge_without_a_film_is_told(bench: Bench, door: Door) -> None:
    task_id = door.post(CREATE, BODY).get_json()["id"]
    bench.turn("admit")
    create(task_id)
    door.delete(f"/v1/jobs/{task_id}")
    bench.provider.polls.append(FILM)
    bench.look()
    assert bench.state(task_id) is State.CANCELLED
    task = shown(door, task_id)
    assert (task["status"], Decimal(task["usage"]["cost"])) == ("failed", Decimal("0.28"))
