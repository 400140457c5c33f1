"""`queues`, `tenants`, `keys` and `budgets`: shown and changed while the stack runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from schemas.jobs import State
from tasks.admitting import fill
from tests.support.bench import Bench
from workers.cli import cli
from workers.cli.exits import INVALID


@pytest.fixture
def said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("REELWORKS_DATABASE_URL", bench.ctx.ledger.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("REELWORKS_VAR", str(bench.folder))
    monkeypatch.setenv("REELWORKS_PROVIDER_KEYS", "main=sk-canary")

    def say(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, list(words))
        assert result.exit_code == code, result.output
        assert "sk-canary" not in result.output
        return result

    return say


def test_queues_show_each_tenants_line(bench: Bench, said: Any) -> None:
    assert "Nobody waits." in said("queues").stdout
    for tenant in ("big", "big", "small"):
        bench.submit(tenant=tenant)
    rows = json.loads(said("queues", "--json").stdout)["queues"]
    assert [(row["tenant"], row["waiting"]) for row in rows] == [("big", 2), ("small", 1)]
    assert "3 waiting." in said("queues").stdout


def test_a_tenants_share_and_limit_are_set_and_shown(bench: Bench, said: Any) -> None:
    said("tenants", "set", "studio", "--weight", "2.5", "--open-limit", "1")
    for _ in range(2):
        bench.submit(tenant="studio")
    fill(bench.ctx)
    (row,) = json.loads(said("tenants", "--json").stdout)["tenants"]
    assert (row["tenant"], row["weight"], row["open_limit"], row["open_tasks"], row["waiting"]) == (
        "studio",
        2.5,
        1,
        1,
        1,
    )
    assert row["held_usd"] == "0.28"
    said("tenants", "set", "studio", "--open-limit", "none")
    fill(bench.ctx)
    assert "Nobody waits." in said("queues").stdout


def test_what_a_tenant_may_ask_of_the_gateway_is_set_and_shown(said: Any) -> None:
    shown = said("tenants", "set", "studio", "--jobs-limit", "1000000", "--requests-per-minute", "20").stdout
    assert shown == "Tenant studio: jobs limit 1000000, requests per minute 20.\n"
    (row,) = json.loads(said("tenants", "--json").stdout)["tenants"]
    assert (row["jobs_limit"], row["requests_per_minute"]) == (1_000_000, 20.0)
    assert said("tenants").stdout.splitlines()[1].split()[-2:] == ["1000000", "20"]
    shown = said("tenants", "set", "studio", "--jobs-limit", "none", "--requests-per-minute", "none").stdout
    assert shown == "Tenant studio: jobs limit none, requests per minute none.\n"
    assert said("tenants").stdout.splitlines()[1].split()[-2:] == ["-", "-"]


def test_a_key_is_closed_opened_and_paced(bench: Bench, said: Any) -> None:
    job_id = bench.submit()
    said("keys", "close", "main")
    fill(bench.ctx)
    assert bench.state(job_id) is State.QUEUED
    assert "closed" in said("keys").stdout
    said("keys", "set", "main", "--creates-per-minute", "30", "--open-limit", "4")
    said("keys", "open", "main")
    fill(bench.ctx)
    assert bench.state(job_id) is State.ADMITTED
    (row,) = json.loads(said("keys", "--json").stdout)["keys"]
    assert (row["open_limit"], row["open_tasks"], row["pace_per_minute"]) == (4, 1, 30.0)


def test_budgets_are_set_used_removed_and_counted_again(bench: Bench, said: Any) -> None:
    assert "There is no budget" in said("budgets").stdout
    shown = said("budgets", "set", "day", "0.30").stdout
    assert "The budget of all tenants a day is $0.30; when it is used up, jobs wait." in shown
    said("budgets", "set", "month", "5", "--tenant", "studio", "--when-used-up", "refuse")
    bench.submit(tenant="studio")
    fill(bench.ctx)
    again = said("budgets", "set", "month", "5", "--tenant", "studio", "--when-used-up", "refuse", "--json").stdout
    assert json.loads(again)["budget"]["used_usd"] == "0.28"
    rows = json.loads(said("budgets", "--json").stdout)["budgets"]
    assert [(row["tenant"], row["period"], row["used_usd"], row["when_used_up"]) for row in rows] == [
        ("", "day", "0.28", "wait"),
        ("studio", "month", "0.28", "refuse"),
    ]
    said("budgets", "remove", "month", "--tenant", "studio")
    assert "studio" not in said("budgets").stdout
    assert "All sums are those of the charges." in said("budgets", "recount").stdout


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("tenants", "set", "a b", "--weight", "1"), "is no tenant"),
        (("tenants", "set", "studio"), "Say what to set"),
        (("tenants", "set", "studio", "--weight", "0"), "0.001"),
        (("tenants", "set", "studio", "--open-limit", "many"), "neither a whole number up to 1,000,000 nor none"),
        (("keys", "set", "main", "--creates-per-minute", "0"), "neither a number above 0, up to 100,000, nor none"),
        (("budgets", "set", "day", "1e-9"), "is not an amount"),
        (("budgets", "set", "week", "1"), "week"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_hint(said: Any, words: tuple[str, ...], hint: str) -> None:
    assert hint in said(*words, code=2).output


def test_a_key_or_budget_that_does_not_exist_is_named(said: Any) -> None:
    assert "there is no key 'mian'; there are: main" in said("keys", "close", "mian", code=INVALID).output
    assert "there is no such budget" in said("budgets", "remove", "day", code=INVALID).output


def test_what_was_put_aside_is_listed_with_its_reason(bench: Bench, said: Any) -> None:
    assert "Nothing was put aside." in said("rejected").stdout
    bench.enter({"v": "1", "job": "job-1", "request": json.dumps({"model": "canary of brass"})})
    bench.enter({"v": "1", "job": "job-2", "request": "{"})
    bench.turn("accept")
    document = json.loads(said("rejected", "--limit", "1", "--json").stdout)
    assert (len(document["rejected"]), document["more"]) == (1, True)
    shown = said("rejected").stdout
    assert "job-1" in shown
    assert "there is no model" in shown
