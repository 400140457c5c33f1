"""Walks through the reel of a running stack. Its name keeps it out of `make test`; `make browser` names it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tasks.domain.api_keys import Scope
from tasks.domain.budgets import Budget, Period, WhenUsedUp
from tasks.ledger import Ledger
from tasks.ledger.spending import set_budget
from tests.browser.chromium import chromium
from tests.browser.walker import SIZES, Walker
from tests.support.doors import new_key
from tests.support.environment import foreign_environment
from tests.support.waiting import wait_until
from tests.support.works import QUICK
from workers.embedded import EmbeddedStack, StackOptions

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(600)]

MODEL: Final = "minimax_hailuo_23_t2v"
FILMS: Final = 6
TENANT: Final = "film"
_FILM_USD: Final = Decimal("0.28")


@dataclass(frozen=True)
class House:
    """A stack with jobs of every kind in it, and how one gets in."""

    url: str
    key: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        asked = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.loads(answer.read())

    def submit(self, prompt: str) -> str:
        return str(self.ask("POST", "/v1/jobs", film(prompt))["id"])

    def state(self, job_id: str) -> str:
        return str(self.ask("GET", f"/v1/jobs/{job_id}")["state"])


def film(prompt: str) -> dict[str, Any]:
    return {"model": MODEL, "prompt": prompt, "resolution": "768P", "metadata": {"scene": prompt.split()[0]}}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    scenario = folder / "scenario.json"
    fails = {"match": {"prompt_contains": "unlucky"}, "poll": {"outcome": "failed"}}
    endless = {"match": {"prompt_contains": "endless"}, "poll": {"never": True}}
    scenario.write_text(json.dumps([fails, endless]))
    env = foreign_environment()
    # Whoever waits here asks far more often than a tenant may.
    env |= {**QUICK, "REELWORKS_OPEN_TASKS_PER_KEY": "4", "REELWORKS_GATEWAY_REQUESTS_PER_MINUTE": "1000000"}
    options = StackOptions(var=folder / "var", speed=20, scenario=scenario, flower=False, gateway=True, env=env)
    with EmbeddedStack(options) as stack:
        ledger = Ledger(stack.environment["REELWORKS_DATABASE_URL"])
        made = House(str(stack.addresses["gateway_url"]), new_key(ledger, TENANT, tuple(Scope)))
        with ledger.begin() as tx:
            set_budget(tx, Budget(TENANT, Period.DAY, 20 * _FILM_USD, WhenUsedUp.WAIT))
        ledger.close()
        yield made


@pytest.fixture(scope="module")
def batch(house: House) -> dict[str, Any]:
    """Films that are there, one that failed, and one that is never done."""
    made: dict[str, Any] = house.ask(
        "POST", "/v1/batches", {"jobs": [film(f"dawn {n} over a lake") for n in range(FILMS)]}
    )
    unlucky, endless = house.submit("unlucky 13"), house.submit("endless tide")
    for job in made["jobs"]:
        wait_until(lambda job_id=job["id"]: house.state(job_id) == "completed", within_s=120, what="the films")
    wait_until(lambda: house.state(unlucky) == "failed", within_s=60, what="the failure")
    wait_until(lambda: house.state(endless) == "generating", within_s=60, what="the endless one")
    return {**made, "unlucky": unlucky, "endless": endless}


@pytest.fixture(params=list(SIZES))
def walker(request: pytest.FixtureRequest, house: House, tmp_path: Path) -> Iterator[Walker]:
    width, height = SIZES[str(request.param)]
    with chromium(tmp_path / "profile", width, height, mobile=request.param == "phone") as driver:
        yield Walker(driver, house.url, house.key, str(request.param))


def test_by_mouse(walker: Walker, batch: dict[str, Any]) -> None:
    walker.sign_in()
    walker.look("overview")
    walker.click("Jobs")
    walker.at("Jobs")
    walker.look("jobs")
    walker.driver.find_element(By.CSS_SELECTOR, "input[value=completed]").click()
    walker.driver.find_element(By.CSS_SELECTOR, "main button").click()
    wait_until(lambda: "state=completed" in walker.driver.current_url, what="the chosen jobs")
    walker.at("Jobs")
    thumbs = walker.driver.find_elements(By.CSS_SELECTOR, "video.thumb")
    assert len(thumbs) == FILMS
    wait_until(lambda: walker.driver.execute_script("return arguments[0].videoWidth", thumbs[0]) > 0, what="a frame")
    done = batch["jobs"][0]["id"][:8]
    walker.click(f"Job {done}")
    walker.at(f"Job {done}")
    walker.driver.execute_script("document.querySelector('video.film').play()")
    wait_until(walker.plays, what="the film")
    walker.look("job")
    walker.click(batch["batch_id"])
    walker.at(f"Batch {batch['batch_id'][:8]}")
    walker.look("batch")
    walker.click("Costs")
    walker.at("Costs")
    walker.look("costs")
    for name in ("unlucky", "endless"):
        walker.open(f"/reel/jobs/{batch[name]}")
        walker.at(f"Job {batch[name][:8]}")
        walker.look(f"job-{name}")
    walker.open("/reel/jobs/nobodys")
    walker.at("There is nothing here.")
    walker.look("error")
    # The page that is not there is all that the browser has missed: no policy stood in its way.
    assert [each for each in walker.complaints() if "404" not in each] == []
    walker.driver.find_element(By.XPATH, "//button[.='Sign out']").click()
    walker.at("Sign in")


def test_by_keyboard(walker: Walker, batch: dict[str, Any]) -> None:
    walker.open("/reel/")
    walker.at("Sign in")
    walker.tab_to("Skip to the content")
    walker.tab_to("Key of the gateway")
    walker.press(walker.key, Keys.ENTER)
    walker.at("Overview")
    walker.tab_to("Skip to the content")
    walker.press(Keys.ENTER)
    walker.tab_to("Job ")  # and not the navigation, which was skipped
    walker.tab_to("All jobs")
    walker.press(Keys.ENTER)
    walker.at("Jobs")
    walker.tab_to("failed")
    walker.press(Keys.SPACE)
    walker.tab_to("Show")
    walker.press(Keys.ENTER)
    wait_until(lambda: "state=failed" in walker.driver.current_url, what="the chosen jobs")
    walker.at("Jobs")
    walker.tab_to(f"Job {batch['unlucky'][:8]}")
    walker.press(Keys.ENTER)
    walker.at(f"Job {batch['unlucky'][:8]}")
    done = batch["jobs"][-1]["id"]
    walker.open(f"/reel/jobs/{done}")
    walker.at(f"Job {done[:8]}")
    walker.tab_to(f"The film of job {done[:8]}")
    walker.press(Keys.SPACE)
    wait_until(walker.plays, what="the film")
    walker.open("/reel/costs")
    walker.at("Costs")
    walker.tab_to("Sign out")
    walker.press(Keys.ENTER)
    walker.at("Sign in")


@pytest.mark.usefixtures("batch")
def test_a_page_follows_its_job_to_the_film_and_a_cancel_is_one_press(walker: Walker, house: House) -> None:
    walker.sign_in()
    job_id = house.submit("later dawn")
    walker.open(f"/reel/jobs/{job_id}")
    walker.at(f"Job {job_id[:8]}")
    # Nobody loads anything again: the page does.
    film = lambda: walker.driver.find_elements(By.CSS_SELECTOR, "video.film")  # noqa: E731
    wait_until(film, within_s=120, what="the film on the page that was open")
    assert walker.driver.find_element(By.CSS_SELECTOR, ".badge").text == "completed"
    waits = house.submit("endless second")
    walker.open(f"/reel/jobs/{waits}")
    walker.at(f"Job {waits[:8]}")
    walker.driver.find_element(By.XPATH, "//button[.='Cancel this job']").click()
    wait_until(lambda: walker.driver.current_url.endswith(waits), what="the job's page")
    walker.at(f"Job {waits[:8]}")
    assert walker.complaints() == []


def test_without_javascript_all_is_there(walker: Walker, batch: dict[str, Any]) -> None:
    walker.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    walker.open("/reel/sign-in")
    walker.driver.find_element(By.ID, "key").send_keys(walker.key)
    walker.driver.find_element(By.CSS_SELECTOR, "button.main").click()
    for path, heading in (
        ("", "Overview"),
        ("jobs", "Jobs"),
        ("costs", "Costs"),
        (f"jobs/{batch['endless']}", f"Job {batch['endless'][:8]}"),
        (f"batches/{batch['batch_id']}", f"Batch {batch['batch_id'][:8]}"),
    ):
        wait_until(lambda: not walker.driver.current_url.endswith("sign-in"), what="the session")
        walker.open(f"/reel/{path}")
        assert walker.heading == heading
