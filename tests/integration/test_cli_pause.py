"""`pause`, `resume` and `drain`: what they say, where a pause is seen, and how a drain ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result

from schemas.jobs import State
from tasks import pausing
from tasks.admitting import fill
from tasks.domain.pauses import Scope
from tasks.domain.sketch import Sketch
from tasks.finish import download, record
from tasks.ledger import tables
from tasks.ledger.admission import TurnsTaken, keep_turns
from tasks.ledger.pauses import pauses_now
from tasks.ledger.provider_keys import pause as refused_for_now
from tests.support.bench import MODEL, Bench
from tests.support.situations import FILM, have_strays, uncertain
from workers.cli import drain
from workers.cli.checks import _database
from workers.cli.exits import FAILED, INTERRUPTED, INVALID
from workers.cli.providerchecks import keys
from workers.settings import read_settings

Said = Callable[..., Result]


@pytest.fixture(autouse=True)
def keys_and_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELWORKS_PROVIDER_KEYS", "main=sk-canary")
    monkeypatch.setenv("SUDO_USER", "ops")


def in_force(bench: Bench) -> list[str]:
    with bench.ctx.ledger.read() as tx:
        return [each.of for each in pauses_now(tx)]


NONSENSE = {
    (): "Say for whom, by one of: --all, --tenant NAME, --key ALIAS.",
    ("--all", "--tenant", "film"): "Say for whom",
    ("--tenant", "flim"): "there is no tenant 'flim' (did you mean 'film'?).",
    ("--tenant", "a b"): "is no tenant",
    ("--key", "mian"): "there is no key 'mian'; there are: main.",
    ("--all", "--for", "2 weeks"): "is not a time such as 90s, 30m, 1h30m or 2d",
    ("--all", "--for", "0"): "is not between 1 s and a year",
    ("--all", "--for", "400d"): "is not between 1 s and a year",
    ("--all", "--reason", "a\x1b[31m"): "has to be one line",
    ("--all", "--reason", " "): "has to be one line",
}


class TestPause:
    def test_where_no_key_is_configured_those_that_were_used_are_named(
        self, bench: Bench, said: Said, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("REELWORKS_PROVIDER_KEYS")
        nowhere = said("pause", "--key", "mian", code=INVALID).output
        assert "none is configured here (REELWORKS_PROVIDER_KEYS), and none was used yet" in nowhere
        bench.generating()
        assert "there is no key 'mian'; there are: main." in said("pause", "--key", "mian", code=INVALID).output

    def test_all_is_paused_and_goes_on(self, bench: Bench, said: Said) -> None:
        job_id = bench.admitted()
        shown = said("pause", "--all", "--reason", "provider down", "--for", "1h30m").stdout
        assert shown.startswith("all: paused since 20")
        assert " by ops@" in shown
        assert ": provider down.\n" in shown
        assert "Jobs that were about to be created, and wait again: 1." in shown
        fill(bench.ctx)
        assert bench.state(job_id) is State.QUEUED
        document = json.loads(said("pause", "--all", "--by", "night shift", "--json").stdout)
        assert (document["stood_before"], document["taken_back"]) == (True, [])
        assert document["pause"] | {"at": None} == {
            "scope": "all",
            "name": "",
            "at": None,
            "by": "night shift",
            "reason": "provider down",
            "until": None,
        }
        assert "Ended: all: paused since" in said("resume", "--all").stdout
        assert said("resume", "--all").stdout == "all was not paused.\n"
        fill(bench.ctx)
        assert bench.state(job_id) is State.ADMITTED

    def test_it_is_seen_wherever_somebody_would_look(self, bench: Bench, said: Said) -> None:
        bench.submit(tenant="film")
        said("pause", "--tenant", "film", "--reason", "[bold]too dear")
        said("pause", "--key", "main", "--reason", "rests")
        line = "tenant film: paused since "
        for verb in ("queues", "tenants", "top"):
            shown = said(verb).stdout
            assert line in shown, verb
            assert ": [bold]too dear" in shown, verb
        assert "closed since 20" in said("keys").stdout
        assert ": rests" in said("keys").stdout
        for verb, names in (("queues", ["film", "main"]), ("tenants", ["film"]), ("keys", [])):
            assert [each["name"] for each in json.loads(said(verb, "--json").stdout)["pauses"]] == names, verb
        warned = {check.found: check.todo for check in _database(read_settings()) if check.name == "paused"}
        assert [todo.partition("workers ")[2] for todo in warned.values()] == [
            "resume --tenant film`",
            "resume --key main`",
        ]
        figures = said("metrics").stdout
        for scope, number in (("all", 0), ("tenant", 1), ("key", 1)):
            assert f'reelworks_paused{{scope="{scope}"}} {number}.0\n' in figures
        said("pause", "--all")
        for verb in ("queues", "tenants", "keys", "top"):
            assert "all: paused since" in said(verb).stdout, verb
        assert "Still in force: all: paused" in said("resume", "--tenant", "film").stdout

    def test_closing_a_key_and_pausing_it_are_one(self, bench: Bench, said: Said) -> None:
        job_id = bench.admitted()
        said("keys", "close", "main")
        assert in_force(bench) == ["key main"]
        assert bench.state(job_id) is State.QUEUED
        said("resume", "--key", "main")
        assert "takes tasks" in said("keys").stdout
        said("pause", "--key", "main", "--for", "2h")
        assert "until" in said("keys").stdout
        said("keys", "open", "main")
        assert in_force(bench) == []

    def test_a_key_of_which_the_pause_has_ended_is_not_called_closed(self, bench: Bench, said: Said) -> None:
        said("pause", "--key", "main", "--for", "2h")
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.provider_keys).values(closed_until=tx.now))
        assert said("keys", "set", "main", "--open-limit", "5").stdout.startswith("Key main takes tasks:")
        assert json.loads(said("keys", "set", "main", "--open-limit", "5", "--json").stdout)["key"]["closed"] is False
        (shown,) = json.loads(said("keys", "--json").stdout)["keys"]
        assert (shown["closed"], shown["key"]["closed"]) == (None, False)

    def test_doctor_leaves_a_key_that_a_person_closed_to_the_check_that_says_how_to_go_on(
        self, bench: Bench, said: Said
    ) -> None:
        def found() -> str:
            return keys(read_settings(), joined=False, answers=False).found

        said("pause", "--key", "main", "--reason", "rests")
        assert found() == "set: main"
        said("resume", "--key", "main")
        with bench.ctx.ledger.begin() as tx:
            refused_for_now(tx, "main", 60, "1008: no balance")
        assert found() == "main is paused: 1008: no balance"

    def test_no_start_is_foretold_of_jobs_that_may_not_start(self, bench: Bench, said: Said) -> None:
        for tenant in ("film", "film", "other", "other"):
            bench.submit(tenant=tenant)
        with bench.ctx.ledger.begin() as tx:
            keep_turns(tx, [TurnsTaken(tenant, 1.0, 60.0) for tenant in ("film", "other")])

        def foretold() -> dict[str, float | None]:
            found = json.loads(said("queues", "--json").stdout)["queues"]
            return {each["tenant"]: each["last_starts_in_s"] for each in found}

        assert foretold() == {"film": 120.0, "other": 120.0}
        said("pause", "--tenant", "film")
        assert foretold() == {"film": None, "other": 120.0}
        for scope, name in ((Scope.ALL, ""), (Scope.KEY, "main")):
            pausing.pause(bench.ctx, scope, name, by="me")
            assert foretold() == {"film": None, "other": None}, scope
            assert "about" not in said("queues").stdout.rpartition("last starts in")[2]
            pausing.resume(bench.ctx, scope, name)

    def test_what_a_tenant_is_told_names_no_other(self, bench: Bench, said: Said) -> None:
        for tenant in ("film", "rival"):
            bench.submit(tenant=tenant)
            said("pause", "--tenant", tenant)
        assert "rival" not in said("resume", "--tenant", "film").stdout

    def test_what_makes_no_sense_is_refused_with_a_hint(self, bench: Bench, said: Said) -> None:
        bench.submit(tenant="film")
        for words, hint in NONSENSE.items():
            answer = said("pause", *words, code=INVALID).output
            assert hint in " ".join(answer.split()), words
        assert in_force(bench) == []

    def test_a_tenant_without_jobs_can_be_paused_once_it_is_there(self, bench: Bench, said: Said) -> None:
        said("resume", "--tenant", "studio", code=INVALID)
        said("tenants", "set", "studio", "--weight", "1")
        said("pause", "--tenant", "studio")
        assert in_force(bench) == ["tenant studio"]

    def test_without_redis_it_stops_creates_all_the_same(
        self, bench: Bench, said: Said, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = bench.admitted()
        monkeypatch.setenv("REELWORKS_REDIS_URL", "redis://127.0.0.1:1/0")
        said("pause", "--all")
        assert bench.state(job_id) is State.QUEUED


class Meanwhile:
    """In the place of `drain`'s sleep: what happens while it waits, a step a turn."""

    def __init__(self, *steps: Callable[[], Any]) -> None:
        self._steps = iter(steps)

    def sleep(self, _seconds: float) -> None:
        next(self._steps)()

    def monotonic(self) -> float:
        return 0.0


def meanwhile(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], Any]) -> None:
    monkeypatch.setattr(drain, "time", Meanwhile(*steps))


@pytest.mark.usefixtures("quick_films")
class TestDrain:
    def test_it_waits_until_nothing_is_in_flight(
        self, bench: Bench, said: Said, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.ctx.pulse.timings.seed(MODEL, {"768P/6": Sketch({150: 100.0}, 100)})  # 20 s
        job_id, waiting = bench.generating(), bench.submit()
        bench.provider.polls.append(FILM)
        meanwhile(monkeypatch, bench.look, lambda: download(job_id), lambda: record(job_id))
        shown = said("drain", "--by", "me").stdout.splitlines()
        assert shown[0].startswith("all: paused since 20")
        assert shown[0].endswith("by me: drain.")
        assert shown[1].startswith("In flight: 1 generating; generated in about ")
        assert shown[2:5] == ["In flight: 1 downloading.", "In flight: 1 recording.", "In flight: nothing."]
        assert shown[5].startswith("Drained after ")
        assert shown[6] == "The pause stands: nothing new is created until `python -m workers resume --all`."
        assert in_force(bench) == ["all"]
        fill(bench.ctx)
        assert (bench.state(job_id), bench.state(waiting)) == (State.COMPLETED, State.QUEUED)

    def test_when_the_time_is_up_it_says_what_is_left(self, bench: Bench, said: Said) -> None:
        bench.generating()
        uncertain(bench)
        shown = said("drain", "--timeout", "0", code=FAILED).stdout
        assert "In flight: 1 generating; how long such films take is not known." in shown
        assert "Uncertain, and waiting for a person: 1" in shown
        assert "no job follows" not in shown
        assert "Not drained after " in shown
        document = json.loads(said("drain", "--timeout", "0", "--json", code=FAILED).stdout)
        assert document.pop("waited_s") >= 0
        assert document == {"drained": False, "left": {"generating": 1}, "uncertain": 1, "strays": 0}
        assert in_force(bench) == ["all"]

    def test_tasks_that_no_job_follows_are_named_and_not_waited_for(self, bench: Bench, said: Said) -> None:
        have_strays(bench, 2)
        shown = said("drain").stdout
        assert "No job follows them, and they may still be open at the provider: 2 tasks" in shown
        assert "Drained after" in shown
        assert json.loads(said("drain", "--json").stdout)["strays"] == 2

    def test_an_interruption_leaves_the_pause_and_says_so(
        self, bench: Bench, said: Said, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted() -> None:
            raise KeyboardInterrupt

        bench.generating()
        meanwhile(monkeypatch, interrupted)
        answer = said("drain", code=INTERRUPTED)
        assert answer.stderr.splitlines() == [
            "The pause stands: nothing new is created until `python -m workers resume --all`.",
            "Interrupted.",
        ]
        assert in_force(bench) == ["all"]

    def test_what_was_about_to_be_created_is_not_waited_for(self, bench: Bench, said: Said) -> None:
        bench.admitted()
        assert "In flight: nothing." in said("drain").stdout

    def test_a_pause_that_would_end_by_itself_stands_then_with_its_reason(self, bench: Bench, said: Said) -> None:
        pausing.pause(bench.ctx, Scope.ALL, by="me", reason="upgrade", for_s=60)
        said("drain")
        with bench.ctx.ledger.read() as tx:
            (pause,) = pauses_now(tx)
        assert (pause.reason, pause.until) == ("upgrade", None)

    def test_without_redis_nothing_is_foretold(self, bench: Bench, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
        bench.generating()
        monkeypatch.setenv("REELWORKS_REDIS_URL", "redis://127.0.0.1:1/0")
        assert "is not known" in said("drain", "--timeout", "0", code=FAILED).stdout
