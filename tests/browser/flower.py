"""Looks at Flower's pages while a stack works. Its name keeps it out of `make test`; `make browser` names it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from selenium.webdriver.common.by import By

from schemas.jobs import TERMINAL, State
from schemas.producer import Producer
from tasks.ledger import Ledger
from tasks.ledger.webhook_secrets import secrets_of
from tests.browser.chromium import chromium, take
from tests.browser.reader import Reader
from tests.support import simulator
from tests.support.canaries import KEY, PROMPT, SECRETS, SIGNATURE, echo, leaks, picture
from tests.support.environment import foreign_environment
from tests.support.flower import Flower, flower_running
from tests.support.receiver import Receiver, receiving
from tests.support.valkey import valkey_server
from tests.support.waiting import wait_until
from tests.support.works import MODEL, QUICK
from workers.embedded import EmbeddedStack, StackOptions
from workers.pools import POOLS
from workers.stackplan import ROOT

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(300)]

SIZE: Final = (1600, 640)
TENANT: Final = "studio"
FILMS: Final = 4
OF_A_FILM: Final = ["reelworks.create", "reelworks.download", "reelworks.record"]
COLUMNS: Final = ["name", "state", "kwargs", "exception", "received", "started", "runtime", "worker", "uuid"]
OWN: Final = {name: f"canary-of-{name}-5e1f-0123456789abcdef" for name in ("redis", "gateway", "metrics", "flower")}
"""What the parts of the stack keep secret, beside the canaries of all tests."""

GONE: Final = f"http://127.0.0.1:9/film.mp4?expires=1&sig={SIGNATURE}"
FAILS: Final[Mapping[str, dict[str, Any]]] = {
    "unlucky": {"poll": {"outcome": "failed", "code": 1027, "message": "The output was judged sensitive."}},
    "talkative": {"poll": {"outcome": "failed", "code": KEY, "message": echo("talkative")}},
    "unwelcome": {"create": {"status": 400, "body": {"error": {"code": 2013, "message": "No such resolution."}}}},
    "lost": {"output": {"url": GONE}},
}
WHY: Final = {
    "unlucky": "The output was judged sensitive. [1027, generating]",
    "talkative": "[unknown, generating]",
    "unwelcome": "No such resolution. [2013, creating]",
    "lost": "[output_not_stored, downloading]",
}
_CHANGING: Final = (
    "#worker-group, [id^='worker-shutdown'], [id^='worker-pool'], [id^='worker-cancel'], [id^='worker-add'], "
    "[id^='task-rate'], [id^='task-timeout'], #task-revoke, #task-terminate"
)


@dataclass(frozen=True)
class House:
    """A stack that has worked. `jobs`: what became of each, and its id. `secrets`: by what they are."""

    flower: Flower
    jobs: Mapping[str, str]
    secrets: Mapping[str, list[str]]


@contextmanager
def stack_running(folder: Path, redis_url: str, receiver: Receiver) -> Iterator[EmbeddedStack]:
    with simulator.running(folder, "--keys", KEY, "--speed", "60") as provider:
        provider.script(*({"match": {"prompt_contains": f"rain {kind}"}, **plan} for kind, plan in FAILS.items()))
        env = {
            **foreign_environment(),
            **QUICK,
            "REELWORKS_REDIS_URL": redis_url,
            "REELWORKS_PROVIDER_URL": provider.url,
            "REELWORKS_PROVIDER_KEYS": f"main={KEY}",
            "REELWORKS_OUTPUT_PRIVATE": "127.0.0.1",
            "REELWORKS_GATEWAY_SECRET": OWN["gateway"],
            "REELWORKS_METRICS_TOKEN": OWN["metrics"],
            "REELWORKS_WEBHOOK_PRIVATE": receiver.place,
            "REELWORKS_DOWNLOAD_TRIES": "2",
        }
        options = StackOptions(var=folder / "var", flower=False, gateway=True, callbacks=True, env=env)
        with EmbeddedStack(options) as stack:
            yield stack


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    login = f"default:{OWN['redis']}"
    (folder / "users.acl").write_text(f"user default on >{OWN['redis']} ~* &* +@all\n")
    (folder / "valkey").mkdir()
    with ExitStack() as open_ones:
        broker = open_ones.enter_context(valkey_server(folder / "valkey", acl=folder / "users.acl", login=login))
        receiver = open_ones.enter_context(receiving())
        stack = open_ones.enter_context(stack_running(folder, broker.url, receiver))
        env = {
            **foreign_environment(),
            "REELWORKS_REDIS_URL": broker.url,
            "REELWORKS_VAR": str(folder / "flower"),
            "REELWORKS_FLOWER_LOGIN": f"operator:{OWN['flower']}",
        }
        flower = open_ones.enter_context(flower_running(env, folder / "flower.log"))
        wait_until(lambda: len(flower.nodes()) == len(POOLS), within_s=60, what="all workers in Flower")
        with Producer(broker.url) as producer:
            jobs = worked(producer, receiver)
        # What was told of the last job is on its way to Flower for half a second.
        for kind, job_id in jobs.items():
            last = "reelworks.job" if kind in FAILS else "reelworks.record"
            wait_until(lambda job=job_id, name=last: name in flower.named(job), what=f"Flower's view of {kind}")
        wait_until(receiver.taken, what="a webhook")
        ledger = Ledger(str(stack.addresses["database_url"]))
        with ledger.read() as tx:
            signing = [secret.text for secret in secrets_of(tx, TENANT)]
        ledger.close()
        assert signing
        own = {f"the secret of {name}": [secret] for name, secret in OWN.items()}
        yield House(flower, jobs, {**SECRETS, **own, "a webhook's secret": signing})


def worked(producer: Producer, receiver: Receiver) -> dict[str, str]:
    """Jobs of all kinds that have come to their end, by what became of them."""
    kinds = [*(f"film {n}" for n in range(FILMS)), *FAILS]
    handles = {
        kind: producer.submit(
            model=MODEL,
            tenant=TENANT,
            first_frame_image=picture(),
            prompt=f"[static] {PROMPT} {kind}",
            resolution="512P",
            callback_url=f"{receiver.url}/hook",
        )
        for kind in kinds
    }
    wait_until(lambda: {handle.state for handle in handles.values()} <= TERMINAL, within_s=120, what="the jobs' ends")
    ends = {kind: State.FAILED if kind in FAILS else State.COMPLETED for kind in kinds}
    assert {kind: handle.state for kind, handle in handles.items()} == ends
    return {kind: handle.id for kind, handle in handles.items()}


@pytest.fixture(scope="module")
def reader(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with chromium(tmp_path_factory.mktemp("profile"), *SIZE) as driver:
        made = Reader(driver, house.flower.url)
        made.sign_in(house.flower.login)
        yield made


def test_without_the_login_there_is_nothing(house: House, tmp_path: Path) -> None:
    with chromium(tmp_path, *SIZE) as driver:
        for path in ("", "tasks", "broker"):
            driver.get(f"{house.flower.url}/{path}")
            assert driver.find_element(By.TAG_NAME, "body").text in ("", "Access denied")
            assert ["401" in entry["message"] for entry in driver.get_log("browser")] == [True]


def test_tasks_stand_there_by_name(house: House, reader: Reader) -> None:
    rows = reader.tasks()
    assert reader.columns() == COLUMNS
    assert {*OF_A_FILM} <= {row["name"] for row in rows} <= {*OF_A_FILM, "reelworks.job"}
    take(reader.driver, "flower-tasks")


def test_a_search_for_a_job_finds_its_tasks(house: House, reader: Reader) -> None:
    for kind in ("film 0", f"film {FILMS - 1}"):
        rows = reader.search(house.jobs[kind])
        assert sorted({row["name"] for row in rows}) == OF_A_FILM
        assert {row["state"] for row in rows} == {"SUCCESS"}
        assert all(house.jobs[kind] in row["kwargs"] for row in rows)
    take(reader.driver, "flower-search")


@pytest.mark.parametrize("kind", FAILS)
def test_a_failed_job_shows_its_reason(house: House, reader: Reader, kind: str) -> None:
    job_id = house.jobs[kind]
    rows = {row["name"]: row for row in reader.search(job_id)}
    assert set(rows) >= {"reelworks.create", "reelworks.job"}
    found = rows["reelworks.job"]
    assert (found["state"], found["uuid"]) == ("FAILURE", job_id)
    assert found["exception"].endswith(WHY[kind])
    take(reader.driver, f"flower-{kind}")
    reader.driver.find_element(By.CSS_SELECTOR, f"#tasks-table a[href$='/task/{job_id}']").click()
    wait_until(lambda: job_id[:8] in reader.driver.title, what="the job's page")
    reader.note()
    details = reader.details()
    assert (details["status"], details["exception"]) == ("FAILURE", found["exception"])
    assert details["keyword arguments"] == f"job={job_id}, model={MODEL}"
    take(reader.driver, f"flower-{kind}-job")


def test_the_failed_ones_are_a_press_away(house: House, reader: Reader) -> None:
    assert len(reader.tasks()) > len(FAILS)
    reader.driver.find_element(By.CSS_SELECTOR, "[data-task-state=FAILURE]").click()
    assert {row["uuid"] for row in reader.rows("state:FAILURE")} == {house.jobs[kind] for kind in FAILS}


def test_workers_are_shown_and_nothing_there_changes_them(house: House, reader: Reader) -> None:
    reader.open("workers")
    wait_until(lambda: reader.driver.find_elements(By.CSS_SELECTOR, "#workers-table tbody a"), what="the workers")
    reader.note()
    counted = reader.driver.find_elements(By.ID, "workers-failed")
    assert [each.text for each in counted] == ["0"]  # jobs that fail are no failures of workers
    take(reader.driver, "flower-workers")
    for node in house.flower.nodes():
        reader.open(f"worker/{quote(node)}")
        tabs = reader.driver.find_elements(By.CSS_SELECTOR, "[role=tab]")
        assert len(tabs) >= 6
        for tab in tabs:
            tab.click()
            pane = tab.get_attribute("aria-controls") or tab.get_attribute("data-bs-target").removeprefix("#")
            wait_until(reader.driver.find_element(By.ID, pane).is_displayed, what=f"the tab {tab.text}")
        assert reader.driver.find_elements(By.CSS_SELECTOR, _CHANGING) == []
    for task in house.flower.tasks():
        reader.open(f"task/{task}")
        assert reader.driver.find_elements(By.CSS_SELECTOR, _CHANGING) == []


def test_the_broker_has_its_queues_and_no_password(house: House, reader: Reader) -> None:
    reader.open("broker")
    address = reader.driver.find_element(By.CSS_SELECTOR, ".broker-url").text
    assert re.fullmatch(r"redis://default:\*\*@127\.0\.0\.1:\d+/0", address)
    queues = {row.get_attribute("id") for row in reader.driver.find_elements(By.CSS_SELECTOR, "#queue-table tbody tr")}
    assert queues == {queue for pool in POOLS.values() for queue in pool.queues}
    take(reader.driver, "flower-broker")


def test_nothing_secret_is_on_any_page(house: House, reader: Reader) -> None:
    """Of all that was opened by the tests before this one, and of all that Flower answers besides."""
    pages = {**reader.seen, **house.flower.everything(house.jobs.values())}
    assert len(reader.seen) > len(house.flower.tasks())
    for job_id in house.jobs.values():
        assert any(job_id in text for text in reader.seen.values())
    assert leaks(pages, house.secrets) == []
    assert [said for said in reader.complaints() if "401" not in said] == []


def test_a_run_of_the_demo_shows_its_tasks_by_name(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "workers", "demo", "--jobs", "12", "--speed", "8"]
    env = {**foreign_environment(), "REELWORKS_VAR": str(tmp_path / "var")}
    demo = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    try:
        with chromium(tmp_path / "profile", *SIZE) as driver:
            said = re.compile(r"Flower shows the work: (\S+) \(login (\S+)\)")
            url, login = next(found for line in demo.stdout if (found := said.match(line))).groups()
            reader = Reader(driver, url)
            reader.sign_in(login)
            wait_until(lambda: {row["name"] for row in reader.tasks()} == {*OF_A_FILM}, what="the demo's tasks")
            take(driver, "flower-demo")
    finally:
        demo.communicate(timeout=120)
    assert demo.returncode == 0
