"""The gateway as it runs: processes beside a whole stack, that accept while Redis stands still, and tell no log what
they were sent.
"""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ops.simulator.bill import read_bill
from schemas import data_url
from schemas.jobs import State
from tasks.domain.api_keys import Scope
from tasks.ledger import Ledger, Transaction, reports
from tests.support.doors import new_key
from tests.support.environment import foreign_environment
from tests.support.pictures import picture
from tests.support.waiting import wait_until
from tests.support.works import MODEL, QUICK
from workers.embedded import EmbeddedStack, StackOptions

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(300)]

PROMPT = "a canary of brass sings in the rain"
MANY = 60


class Caller:
    """A service that asks by HTTP alone."""

    def __init__(self, stack: EmbeddedStack, key: str) -> None:
        self._base, self.key = str(stack.addresses["gateway_url"]), key

    def ask(self, method: str, path: str, body: Any = None, timeout_s: float = 60) -> tuple[int, bytes]:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        url = path if "://" in path else self._base + path
        asked = urllib.request.Request(url, data, {"Authorization": f"Bearer {self.key}"}, method=method)
        if data is not None:
            asked.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(asked, timeout=timeout_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def job(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        status, data = self.ask(method, path, body)
        assert status in (200, 202), data
        found: dict[str, Any] = json.loads(data)
        return found


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[EmbeddedStack]:
    env = {
        **foreign_environment(),
        **QUICK,
        "REELWORKS_LOG_LEVEL": "DEBUG",
    }
    with EmbeddedStack(StackOptions(var=tmp_path / "var", speed=300, flower=False, gateway=True, env=env)) as running:
        yield running


@pytest.fixture
def caller(stack: EmbeddedStack) -> Caller:
    ledger = Ledger(stack.environment["REELWORKS_DATABASE_URL"])
    key = new_key(ledger, scopes=tuple(Scope))
    ledger.close()
    return Caller(stack, key)


def request(**changes: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "first_frame_image": data_url(picture()),
        "prompt": f"[static] {PROMPT}",
        "resolution": "512P",
        **changes,
    }


def test_what_is_posted_while_redis_stands_still_is_accepted_and_made(stack: EmbeddedStack, caller: Caller) -> None:
    pids = stack.addresses["pids"]
    assert isinstance(pids, dict)
    os.kill(pids["valkey"], signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(16) as threads:
            made = list(threads.map(lambda _: caller.job("POST", "/v1/jobs", request()), range(MANY)))
    finally:
        os.kill(pids["valkey"], signal.SIGCONT)
    assert {job["state"] for job in made} <= {State.QUEUED, State.ADMITTED}
    ids = {job["id"] for job in made}
    assert len(ids) == MANY

    def all_completed() -> bool:
        page = caller.job("GET", "/v1/jobs?state=completed&limit=200")
        return {job["id"] for job in page["jobs"]} == ids

    wait_until(all_completed, within_s=240, what="all of them to be completed")


def test_no_log_is_told_what_it_was_sent(stack: EmbeddedStack, caller: Caller) -> None:
    caller.job("POST", "/v1/jobs", request())
    params = {name: value for name, value in request().items() if name != "model"}
    task = caller.job("POST", "/model/v1/generation", {"model": MODEL, "input": [{"params": params}]})
    caller.ask("POST", "/v1/jobs", {**request(), "duration": PROMPT, PROMPT: 1})
    caller.ask("POST", "/v1/jobs", b'{"prompt": "' + PROMPT.encode())
    caller.ask("GET", f"/v1/{PROMPT.replace(' ', '%20')}?{PROMPT.replace(' ', '%20')}")

    def ended() -> dict[str, Any] | None:
        found = caller.job("GET", f"/model/v1/generation/task/{task['id']}")
        return found if found["status"] == "completed" else None

    url = wait_until(ended, within_s=60, what="the film")["output"][0]["content"][0]["url"]
    status, film = caller.ask("GET", url)
    assert (status, film[4:8]) == (200, b"ftyp")
    signature = urlsplit(url).query.rpartition("=")[2]
    log = Path(str(stack.addresses["logs"]), "gateway.log").read_text()
    assert log.count("request_answered") >= 7
    for secret in ("canary", caller.key.split("_", 2)[2], signature):
        assert secret not in log


def test_a_job_is_followed_to_its_end_over_one_connection(stack: EmbeddedStack, caller: Caller) -> None:
    job = caller.job("POST", "/v1/jobs", request(metadata={"a": 1}))
    status, text = caller.ask("GET", f"/v1/jobs/{job['id']}/events", timeout_s=100)
    assert status == 200
    assert text.count(b"event: state") >= 5
    assert b"completed" in text


@pytest.fixture
def calling(tmp_path: Path) -> Iterator[EmbeddedStack]:
    """A stack whose provider calls back, and whose own looks are so far apart that calls are all that is quick."""
    scenario = tmp_path / "scenario.json"
    lost = {"match": {"prompt_contains": "unanswered"}, "create": {"fault": "accept_then_reset"}}
    silent = {"match": {"prompt_contains": "silent"}, "callback": {"silent": True}}
    forged = {"match": {"prompt_contains": "forged"}, "callback": {"forged": "status", "copies": 2}}
    scenario.write_text(json.dumps([lost, silent, forged]))
    env = {
        **foreign_environment(),
        **QUICK,
        "REELWORKS_POLL_FIRST_S": "1",
        "REELWORKS_POLL_INTERVAL_S": "2",
    }
    options = StackOptions(
        var=tmp_path / "var", speed=300, scenario=scenario, flower=False, gateway=True, callbacks=True, env=env
    )
    with EmbeddedStack(options) as running:
        yield running


def test_a_provider_that_calls_back_is_looked_at_in_time_and_never_believed(calling: EmbeddedStack) -> None:
    ledger = Ledger(calling.environment["REELWORKS_DATABASE_URL"])
    caller = Caller(calling, new_key(ledger, scopes=tuple(Scope)))
    kinds = ("plain", "unanswered", "silent", "forged")
    ids = {kind: caller.job("POST", "/v1/jobs", request(prompt=f"[static] {kind}"))["id"] for kind in kinds}
    for kind, job_id in ids.items():
        wait_until(
            lambda: caller.job("GET", f"/v1/jobs/{job_id}")["state"] == "completed",  # noqa: B023
            within_s=100,
            what=f"the film of {kind}",
        )
    with ledger.read() as tx:
        bound = events_of(tx, ids["unanswered"])
        charged = reports.costs(tx)["total"][0]
    ledger.close()
    assert ("accepted", {"by": "callback"}) in bound  # nobody had to look for its provider task
    assert (charged.charges, str(charged.amount_usd)) == (4, "0.40")
    bill = read_bill(Path(str(calling.addresses["bill"])))
    assert len(bill.creates) == 4


def events_of(tx: Transaction, job_id: str) -> list[tuple[str, Any]]:
    report = reports.job_report(tx, job_id)
    assert report is not None
    return [(moment.event, moment.detail) for moment in report.timeline]
