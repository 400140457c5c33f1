"""What `doctor` finds and what it says to do: where nothing answers, and against the simulator, Redis and databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine
from click.testing import CliRunner, Result

from tasks.ledger import Ledger
from tasks.ledger.provider_keys import pause
from tasks.pulse import Pulse
from tests.support.simulator import Simulator, running
from workers.cli import cli
from workers.cli.clocks import clocks
from workers.cli.exits import FAILED
from workers.cli.providerchecks import keys, provider
from workers.cli.verdicts import Check, Verdict, ok
from workers.settings import read_settings


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with running(tmp_path_factory.mktemp("simulator"), "--keys", "sk-one") as it:
        yield it


@pytest.fixture(autouse=True)
def nothing_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "VAR": str(tmp_path / "var"),
        "STORE": str(tmp_path / "store"),
        "DATABASE_URL": f"sqlite:///{tmp_path}/none.db",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "PROVIDER_URL": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(f"REELWORKS_{name}", value)


@pytest.fixture
def at_the_simulator(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELWORKS_PROVIDER_URL", simulator.url)
    monkeypatch.setenv("REELWORKS_PROVIDER_KEYS", "main=sk-one,spare=sk-one")


def checks() -> dict[str, Any]:
    """What the verb says of each thing."""
    return {each["name"]: each for each in json.loads(doctor("--json").stdout)["checks"]}


def doctor(*words: str) -> Result:
    """The verb, which finds something broken wherever no worker runs."""
    result = CliRunner().invoke(cli, ["doctor", *words])
    assert result.exit_code == FAILED, result.output
    return result


@pytest.mark.usefixtures("at_the_simulator")
def test_keys_are_tried_out_at_the_provider_at_no_cost(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = keys(read_settings(), joined=False, answers=True)
    assert (accepted.verdict, accepted.found) == (Verdict.OK, "accepted: main, spare")
    monkeypatch.setenv("REELWORKS_PROVIDER_KEYS", "main=sk-one,old=sk-gone")
    refused = keys(read_settings(), joined=False, answers=True)
    assert refused.verdict is Verdict.BROKEN
    assert refused.found.startswith("old is refused: ")
    assert "sk-gone" not in refused.found
    assert "python -m workers keys" in refused.todo
    assert simulator.bill().creates == ()


@pytest.mark.usefixtures("at_the_simulator")
def test_clocks_are_compared_with_all_that_tell_theirs(
    pulse: Pulse, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELWORKS_DATABASE_URL", database_url)
    others = ["redis", *(["database"] if database_url.startswith("postgresql") else []), "provider"]

    def clock() -> Check:
        read = read_settings()
        return clocks(pulse, read, provider(read.provider_url).ahead_s)

    assert clock() == ok("clock", f"within 5 s of {', '.join(others)}")
    with time_machine.travel(1_000_000_000, tick=True):  # in 2001
        off = clock()
    assert off.verdict is Verdict.WARNING
    assert all(f"{name} is " in off.found for name in others)
    assert off.found.count("s ahead") == len(others)


def test_it_names_what_is_broken_and_what_to_do(
    redis_url: str, small_books: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELWORKS_REDIS_URL", redis_url)
    found = checks()
    verdicts = {name: each["verdict"] for name, each in found.items()}
    assert (verdicts["redis"], verdicts["database"], verdicts["store"]) == ("ok", "ok", "ok")
    assert (verdicts["provider"], verdicts["provider keys"], verdicts["workers lanes"]) == ("broken",) * 3
    assert "VTRIX_API_KEY" in found["provider keys"]["todo"]
    assert all(each["todo"] for each in found.values() if each["verdict"] != "ok")


def test_it_shows_keys_by_alias_and_says_when_one_is_paused(
    small_books: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELWORKS_PROVIDER_KEYS", "main=sk-canary,spare=sk-canary-2")
    shown = doctor().stdout
    assert "provider keys: set: main, spare" in shown
    with small_books.begin() as tx:
        pause(tx, "spare", 60, "1008: no balance")
    shown += doctor().stdout
    assert "spare is paused: 1008: no balance" in shown
    assert "sk-canary" not in shown


@pytest.mark.parametrize(
    ("reasons", "todo"),
    [
        ({"main": "1008: no balance"}, "look at the key and its balance; a pause ends by itself"),
        ({"main": "unsent"}, "see that the create pools reach REELWORKS_PROVIDER_URL; a pause ends by itself"),
        (
            {"main": "unsent", "spare": "throttled"},
            (
                "give it the provider's pace: `python -m workers keys set ALIAS --creates-per-minute N`, and "
                "see that the create pools reach REELWORKS_PROVIDER_URL; a pause ends by itself"
            ),
        ),
    ],
)
def test_what_to_do_about_a_paused_key_is_by_why_it_pauses(
    small_books: Ledger, monkeypatch: pytest.MonkeyPatch, reasons: dict[str, str], todo: str
) -> None:
    monkeypatch.setenv("REELWORKS_PROVIDER_KEYS", "main=sk-canary,spare=sk-canary-2")
    with small_books.begin() as tx:
        for alias, reason in reasons.items():
            pause(tx, alias, 60, reason)
    found = keys(read_settings(), joined=False, answers=False)
    assert (found.verdict, found.todo) == (Verdict.WARNING, todo)


@pytest.mark.parametrize(
    ("provider", "private", "verdict"),
    [
        ("https://127.0.0.1:1", "", "ok"),
        ("https://127.0.0.1:1", "127.0.0.1:8900", "warning"),
        ("http://127.0.0.1:1", "127.0.0.1:8900", "ok"),
    ],
)
def test_it_warns_of_private_outputs_beside_a_real_provider(
    small_books: Ledger, monkeypatch: pytest.MonkeyPatch, provider: str, private: str, verdict: str
) -> None:
    monkeypatch.setenv("REELWORKS_PROVIDER_URL", provider)
    monkeypatch.setenv("REELWORKS_OUTPUT_PRIVATE", private)
    found = checks()["output addresses"]
    assert found["verdict"] == verdict
    assert private in found["found"]


def test_it_calls_a_disk_below_the_mark_broken(small_books: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELWORKS_DISK_LOW_BYTES", str(10**18))
    disk = checks()["disk"]
    assert disk["verdict"] == "broken"
    assert "nothing is accepted, created or downloaded" in disk["todo"]


def test_it_goes_on_without_redis_and_without_a_schema(tmp_path: Path) -> None:
    shown = doctor().stdout
    assert "redis: does not answer (ConnectionError)" in shown
    assert "-> run `python -m workers migrate`" in shown
    assert not (tmp_path / "none.db").exists()
