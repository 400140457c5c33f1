"""Requests that were put aside and are put back into the stream: what becomes of them, and what of those that can't."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from schemas import data_url, keys
from schemas.jobs import State
from tasks.enqueued import TASK
from tasks.failpoints import VARIABLE
from tasks.lanes import TURNS
from tasks.ledger import tables
from tasks.outward import Reach
from tasks.pulse.intake import Intake
from tasks.webhooks import Webhooks
from tests.support.bench import MODEL, URL, Bench
from tests.support.pictures import picture
from workers.cli import cli
from workers.cli.exits import FAILED, INVALID, UNREACHABLE
from workers.stackplan import ROOT

HOOK = "https://10.0.0.1/canary"
REQUEST = {"model": MODEL, "first_frame_image": URL, "callback_url": HOOK}

Say = Callable[..., Result]


@pytest.fixture
def say(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Say:
    monkeypatch.setenv("REELWORKS_DATABASE_URL", bench.ctx.ledger.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("REELWORKS_VAR", str(bench.folder))
    monkeypatch.setenv("REELWORKS_STORE", str(bench.folder / "store"))

    def invoke(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["rejected", *words])
        assert result.exit_code == code, result.output
        assert "canary" not in result.output
        return result

    return invoke


def entered(bench: Bench, **fields: Any) -> str:
    """Add an entry to the stream that is put aside; gives its id there."""
    bench.enter({"v": "1", **fields})
    bench.turn("accept")
    (row,) = bench.rows(tables.rejected)
    return str(row.id)


def accepted_with_the_hook_allowed(bench: Bench) -> None:
    """A turn of the lane in which an operator has allowed the address that was refused."""
    allowed = Webhooks(bench.ctx.policy.webhook, Reach(private=frozenset({"10.0.0.1"})))
    TURNS["accept"](replace(bench.ctx, webhooks=allowed))
    allowed.close()


def waiting(bench: Bench) -> int:
    return int(bench.ctx.pulse.redis.xlen(keys.REQUESTS))


def test_a_request_is_accepted_as_it_came_once_nothing_speaks_against_it(bench: Bench, say: Say) -> None:
    asked = {**REQUEST, "first_frame_image": data_url(picture()), "prompt": "a ü canary", "metadata": {"scene": 7}}
    entry = entered(bench, job="order-7", request=json.dumps(asked))
    view = bench.view("order-7")
    assert view is not None
    assert view.state is State.FAILED
    assert say("retry", entry).stdout == "1 put back into the stream.\n"
    assert bench.rows(tables.rejected) == []
    accepted_with_the_hook_allowed(bench)
    (job,) = bench.rows(tables.jobs)
    assert (job.id, job.request["prompt"], job.request["metadata"]) == ("order-7", "a ü canary", {"scene": 7})
    name = job.request["first_frame_image"].removeprefix("input:").split(":")[0]
    assert bench.ctx.store.get_input(*name.split(".")) == picture()
    view = bench.view("order-7")
    assert view is not None
    assert view.state is State.QUEUED


def test_what_still_can_not_be_accepted_is_put_aside_once_more_and_not_tried_for_ever(bench: Bench, say: Say) -> None:
    before = entered(bench, v="2", job="order-7", request="{}")
    assert json.loads(say("retry", "--all", "--json").stdout) == {"put_back": [before], "left": {}}
    bench.turn("accept")
    (aside,) = bench.rows(tables.rejected)
    assert aside.id != before
    assert (aside.job_id, aside.entry) == ("order-7", {"v": "2", "job": "order-7", "request": "{}"})


def test_all_are_those_of_a_reason_and_no_commands(bench: Bench, say: Say) -> None:
    bench.enter({"job": "order-7", "request": json.dumps(REQUEST)})
    bench.enter({"job": "order-8", "request": "{"})
    bench.ctx.pulse.redis.xadd(keys.COMMANDS, {"v": "1", "command": "callback_url", "job": "order-7"})
    bench.turn("accept")
    say("retry", "--all", "--reason", "callback_url: ")
    accepted_with_the_hook_allowed(bench)
    assert [row.id for row in bench.rows(tables.jobs)] == ["order-7"]
    assert len(bench.rows(tables.rejected)) == 2
    assert say("retry", "--all").stdout == "1 put back into the stream.\n"
    (left,) = bench.rows(tables.rejected)
    assert left.id.startswith("command:")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"job": "order-7", "request": b"\xff\xfe{"}, "it was not UTF-8"),
        ({"job": "order-7", b"\xff": "x", "request": "{"}, "it was not UTF-8"),
    ],
    ids=["value", "name"],
)
def test_what_can_not_be_restored_stays_where_it_is(bench: Bench, say: Say, fields: Any, why: str) -> None:
    bench.enter({"v": "1", **fields})
    bench.turn("accept")
    (before,) = bench.rows(tables.rejected)
    assert why in say("retry", before.id, code=FAILED).output
    assert say("retry", "--all", code=FAILED).stdout == "0 put back into the stream.\n"
    assert bench.rows(tables.rejected) == [before]
    assert waiting(bench) == 0


def test_a_command_stays_where_it_is_and_its_verb_is_named(bench: Bench, say: Say) -> None:
    bench.ctx.pulse.redis.xadd(keys.COMMANDS, {"v": "1", "command": "explode", "job": "order-7"})
    bench.turn("accept")
    (before,) = bench.rows(tables.rejected)
    assert "python -m workers cancel" in say("retry", before.id, code=FAILED).output
    assert bench.rows(tables.rejected) == [before]
    assert bench.ctx.pulse.redis.xlen(keys.COMMANDS) == 0


def test_of_several_those_that_are_not_there_are_named_and_the_others_put_back(bench: Bench, say: Say) -> None:
    entry = entered(bench, job="order-7", request=json.dumps(REQUEST))
    shown = say("retry", "1-1", entry, code=FAILED).output
    assert "1-1: there is no such entry" in shown
    assert "1 put back" in shown


@pytest.mark.parametrize("words", [[], ["1-1", "--all"], ["1-1", "--reason", "x"]])
def test_what_makes_no_sense_is_refused(say: Say, words: list[str]) -> None:
    say("retry", *words, code=INVALID)


def test_the_limit_of_the_list_is_none_of_what_is_put_back(say: Say) -> None:
    assert "--limit" in say("--limit", "1", "retry", "--all", code=INVALID).output


def test_while_redis_is_away_nothing_is_lost(bench: Bench, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = entered(bench, job="order-7", request=json.dumps(REQUEST))

    def away(*_: Any) -> None:
        raise redis.ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(Intake, "put_back", away)
        say("retry", entry, code=UNREACHABLE)
    assert [row.id for row in bench.rows(tables.rejected)] == [entry]


@pytest.mark.parametrize("door", ["request", "celery"])
def test_whoever_dies_in_between_loses_nothing_and_doubles_nothing(bench: Bench, say: Say, door: str) -> None:
    """Without an id of its own, too: it keeps the one that its first place in the stream has given it."""
    message = {
        "body": json.dumps([[REQUEST], {}, {}]),
        "content-type": "application/json",
        "headers": {"task": TASK, "id": None},
        "properties": {},
    }
    entry = entered(bench, **{door: json.dumps(REQUEST if door == "request" else message)})
    (aside,) = bench.rows(tables.rejected)
    command = [sys.executable, "-m", "workers", "rejected", "retry", entry]
    environment = {**os.environ, VARIABLE: "operate.before_commit"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [row.id for row in bench.rows(tables.rejected)] == [entry]
    assert waiting(bench) == 1
    say("retry", entry)
    assert waiting(bench) == 2
    accepted_with_the_hook_allowed(bench)
    assert [row.id for row in bench.rows(tables.jobs)] == [aside.job_id]
    assert bench.rows(tables.rejected) == []
