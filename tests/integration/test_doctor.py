"""What `doctor` finds of the provider, of its keys and of clocks: against the simulator, Redis and both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import time_machine

from tasks.pulse import Pulse
from tests.support.simulator import Simulator, running
from workers.cli.clocks import clocks
from workers.cli.providerchecks import keys, provider
from workers.cli.verdicts import Check, Verdict, ok
from workers.settings import read_settings


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with running(tmp_path_factory.mktemp("simulator"), "--keys", "sk-one") as it:
        yield it


@pytest.fixture(autouse=True)
def addresses(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "VAR": str(tmp_path / "var"),
        "DATABASE_URL": f"sqlite:///{tmp_path}/none.db",
        "PROVIDER_URL": simulator.url,
        "PROVIDER_KEYS": "main=sk-one,spare=sk-one",
    }.items():
        monkeypatch.setenv(f"REELWORKS_{name}", value)


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
