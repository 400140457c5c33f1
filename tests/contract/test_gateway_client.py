"""A client that was written to the provider's documentation, and knows a base URL and a key: it works against the
simulator of the provider, and against the gateway in front of everything else, without a change.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas import data_url
from tasks.domain.api_keys import Scope
from tasks.ledger import Ledger
from tests.support.doors import new_key
from tests.support.pictures import picture
from workers.embedded import EmbeddedStack, StackOptions

pytestmark = pytest.mark.enable_socket

MODEL = "minimax_hailuo_02_i2v"


class Client:
    """Creates a task, polls it at a fixed interval until it has ended, and fetches what it made."""

    def __init__(self, base_url: str, key: str, interval_s: float = 5.0) -> None:
        self.base_url, self._key, self._interval_s = base_url, key, interval_s

    def generate(self, within_s: float, **params: Any) -> dict[str, Any]:
        """The task as it ended."""
        created = self._call("/model/v1/generation", {"model": MODEL, "input": [{"params": params}]})
        assert created["status"] == "in_progress"
        assert created["model"] == MODEL
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            task = self._call(f"/model/v1/generation/task/{created['id']}")
            assert task["id"] == created["id"]
            if task["status"] in ("completed", "failed"):
                return task
            assert 0 <= task["progress"] <= 1
            time.sleep(self._interval_s)
        raise AssertionError(f"task {created['id']} did not end")

    def fetch(self, url: str) -> bytes:
        with urllib.request.urlopen(url, timeout=30) as answer:
            data: bytes = answer.read()
        return data

    def _call(self, path: str, body: Any = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(
            urllib.request.Request(self.base_url + path, data, headers, method="GET" if body is None else "POST"),
            timeout=30,
        ) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    scenario = tmp_path_factory.mktemp("scenario") / "scenario.json"
    failing = {"match": {"prompt_contains": "no luck"}, "poll": {"outcome": "failed", "message": "judged sensitive"}}
    scenario.write_text(json.dumps([failing]))
    var = tmp_path_factory.mktemp("stack")
    options = StackOptions(var=var, speed=200, scenario=scenario, flower=False, gateway=True)
    with EmbeddedStack(options) as running:
        yield running


@pytest.fixture(params=["simulator", "gateway"])
def client(request: pytest.FixtureRequest, stack: EmbeddedStack) -> Client:
    where = stack.addresses
    if request.param == "simulator":
        return Client(str(where["provider_url"]), "sk-simulator", interval_s=0.2)
    ledger = Ledger(stack.environment["REELWORKS_DATABASE_URL"])
    key = new_key(ledger, "vendor", (Scope.SUBMIT, Scope.READ))
    ledger.close()
    return Client(str(where["gateway_url"]), key, interval_s=0.2)


def test_a_film_is_made_paid_and_fetched(client: Client, tmp_path: Path) -> None:
    task = client.generate(
        60, first_frame_image=data_url(picture()), prompt="[pan left] a boat", resolution="512P", duration=6
    )
    assert task["status"] == "completed"
    assert isinstance(task["usage"]["cost"], str)
    assert Decimal(task["usage"]["cost"]) == Decimal("0.10")
    urls = [each["url"] for group in task["output"] for each in group["content"] if each["type"] == "video"]
    assert len(urls) == 1
    assert client.fetch(urls[0])[4:8] == b"ftyp"


def test_what_the_provider_can_not_make_has_failed_with_a_reason(client: Client) -> None:
    task = client.generate(60, first_frame_image=data_url(picture()), prompt="no luck", resolution="512P")
    assert task["status"] == "failed"
    assert task["error"]["code"] == 10004095
    assert "judged sensitive" in task["error"]["error_message"]
    assert "output" not in task


@pytest.mark.parametrize(
    ("key", "params", "status"),
    [
        (None, {"first_frame_image": "https://pictures.example/a.jpg"}, 401),
        ("", {}, 400),
        ("", {"first_frame_image": "https://pictures.example/a.jpg", "duration": 7}, 400),
    ],
)
def test_what_is_refused_is_refused_with_the_same_status(
    client: Client, key: str | None, params: dict[str, Any], status: int
) -> None:
    asking = client if key is not None else Client(client.base_url, "nobodys")
    with pytest.raises(urllib.error.HTTPError) as refused:
        asking.generate(1, **params)
    with refused.value as answer:
        assert answer.code == status
        assert json.load(answer)
