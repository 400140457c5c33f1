"""Two tenants: no call of one, at any route and by any verb, sees or changes anything that is the other's."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

import click
import pytest
from click.testing import CliRunner, Result
from werkzeug.test import TestResponse

from schemas.jobs import State
from tests.support.bench import URL, Bench
from tests.support.doors import Door, client
from tests.support.tenancy import ENVELOPE, REQUEST, Tenant, belongings, changed, seen, settle
from workers.cli import cli
from workers.cli.exits import INVALID
from workers.gateway.app import document

pytestmark = pytest.mark.usefixtures("quick_films")

AMOUNTS_USD: Final = {"film": Decimal("0.28"), "brassworks": Decimal("0.731942")}
SUM: Final = {"the sum of both": f"{sum(AMOUNTS_USD.values()):f}"}


@dataclass(frozen=True)
class Ask:
    """A call. `status`: what a stranger is answered. `shown`: what a stranger may see of the other nevertheless."""

    path: str
    status: int = 404
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    shown: frozenset[str] = frozenset()

    def by(self, asker: Tenant, method: str) -> TestResponse:
        options = {} if self.body is None else {"json": self.body}
        return asker.door.ask(method, self.path, headers=dict(self.headers), **options)


Asked = Callable[[Tenant, Tenant], Ask]
"""A call about what the first tenant has, made by the second. That may be the same one."""


def about(path: str, **options: Any) -> Asked:
    """A call whose path names something of `it`, and which is the same whoever makes it."""
    return lambda it, _asker: Ask(path.format(it=it), **options)


_TASK: Final = "/model/v1/generation/task"
MATRIX: Final[dict[tuple[str, str], Sequence[Asked]]] = {
    ("POST", "/v1/jobs"): [
        lambda it, _: Ask("/v1/jobs", 202, REQUEST, it.used()),
        lambda it, _: Ask("/v1/jobs", 422, {**REQUEST, "tenant": it.name}),
    ],
    ("GET", "/v1/jobs"): [
        about("/v1/jobs?limit=200", status=200),
        about("/v1/jobs?state=completed&state=uncertain", status=200),
        about("/v1/jobs?batch_id={it.batch_id}", status=200),
        about("/v1/jobs?limit=1&cursor={it.cursors[jobs]}", status=200),
    ],
    ("POST", "/v1/batches"): [
        lambda it, _: Ask("/v1/batches", 202, {"jobs": [{**REQUEST, "idempotency_key": it.used()["Idempotency-Key"]}]}),
        lambda it, _: Ask("/v1/batches", 422, {"jobs": [REQUEST, {**REQUEST, "tenant": it.name}]}),
    ],
    ("GET", "/v1/jobs/{job_id}"): [about("/v1/jobs/{it.jobs[completed]}"), about("/v1/jobs/{it.jobs[uncertain]}")],
    ("DELETE", "/v1/jobs/{job_id}"): [about("/v1/jobs/{it.jobs[queued]}"), about("/v1/jobs/{it.jobs[generating]}")],
    ("POST", "/v1/jobs/{job_id}/retry"): [
        about("/v1/jobs/{it.jobs[failed]}/retry"),
        about("/v1/jobs/{it.jobs[failed]}/retry", body={"anew": True}),
    ],
    ("GET", "/v1/jobs/{job_id}/events"): [
        about("/v1/jobs/{it.jobs[completed]}/events"),
        about("/v1/jobs/{it.jobs[dead]}/events", headers={"Last-Event-ID": "1"}),
    ],
    ("GET", "/v1/jobs/{job_id}/outputs/{index}"): [about("/v1/jobs/{it.jobs[completed]}/outputs/0")],
    # What a film of this kind has cost lately is the provider's price: what is held for anybody's next one.
    ("POST", "/v1/estimate"): [about("/v1/estimate", status=200, body=REQUEST, shown=frozenset({"amount"}))],
    ("GET", "/v1/usage"): [
        about("/v1/usage", status=200),
        about("/v1/usage?since=2020-01-01&until=9999-12-31", status=200),
        *(
            about(f"/v1/usage?by={kind}", status=200, headers={"Accept": "text/csv"})
            for kind in ("day", "model", "key")
        ),
    ],
    ("GET", "/v1/webhooks"): [
        about("/v1/webhooks?limit=200", status=200),
        about("/v1/webhooks?state=dead", status=200),
        about("/v1/webhooks?job_id={it.jobs[completed]}", status=200),
        about("/v1/webhooks?cursor={it.cursors[webhooks]}", status=200),
    ],
    ("POST", "/v1/webhooks/{message_id}/replay"): [
        about("/v1/webhooks/{it.messages[arrived]}/replay"),
        about("/v1/webhooks/{it.messages[dead]}/replay"),
        about("/v1/webhooks/{it.messages[due]}/replay"),
    ],
    ("GET", "/v1/webhooks/secrets"): [about("/v1/webhooks/secrets", status=200)],
    ("POST", "/v1/webhooks/secrets"): [about("/v1/webhooks/secrets", status=201, body={"overlap_s": 0})],
    ("POST", "/model/v1/generation"): [
        lambda it, _: Ask("/model/v1/generation", 200, ENVELOPE, it.used("dropin")),
    ],
    ("GET", "/model/v1/generation/task/{task_id}"): [
        about(f"{_TASK}/{{it.jobs[dropin]}}"),
        about(f"{_TASK}/{{it.jobs[completed]}}"),
    ],
    ("GET", "/files/{job_id}/{index}"): [
        lambda it, asker: Ask(f"/files/{it.jobs['completed']}/0?{asker.link.partition('?')[2]}", 403),
    ],
    ("POST", "/callbacks/{token}"): [
        lambda it, asker: Ask(
            f"/callbacks/{it.token.rpartition('.')[0]}.{asker.token.rpartition('.')[2]}", body={"id": f"{it.word}-new"}
        ),
    ],
}
"""Every route whose answers are a tenant's, with calls that name what is another's."""
NOBODYS: Final = {("GET", "/livez"), ("GET", "/readyz")}
"""Routes that say nothing of any tenant."""
WATCHERS: Final = ("GET", "/metrics")
"""The figures of all tenants, for whoever has the token of those who run it."""
TOKEN: Final = "of those who watch, 32 characters"
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def tenants(bench: Bench) -> tuple[Tenant, Tenant]:
    """Who asks, and who is not to be touched."""
    ours, theirs = settle(bench, AMOUNTS_USD)
    return ours, theirs


def each_call() -> Iterator[tuple[str, str, Asked]]:
    for (method, route), calls in MATRIX.items():
        for asked in calls:
            yield method, route, asked


class TestByTheGateway:
    def test_the_matrix_has_every_route(self) -> None:
        paths = document()["paths"]
        told = {(name.upper(), path) for path, on in paths.items() for name in on if name.upper() in METHODS}
        assert told == MATRIX.keys() | NOBODYS | {WATCHERS}
        rules = list(client().application.url_map.iter_rules())
        doors = [rule for rule in rules if not rule.rule.startswith("/reel")]  # the pages: `test_reel.py`
        served = {(method, rule.rule) for rule in doors for method in rule.methods or () if method in METHODS}
        assert len(served) == len(told) + 1, "a route that the document leaves out, beside the document's own"

    def test_a_stranger_sees_nothing_and_changes_nothing(self, bench: Bench, tenants: tuple[Tenant, Tenant]) -> None:
        ours, theirs = tenants
        traces = theirs.traces() | SUM
        before = belongings(bench, theirs)
        found = []
        for method, route, asked in each_call():
            ask = asked(theirs, ours)
            answer = ask.by(ours, method)
            visible = set(seen(traces, answer.data, str(answer.headers))) - ask.shown
            if problems := [*sorted(visible), *changed(before, belongings(bench, theirs))]:
                found.append(f"{method} {route}: {', '.join(problems)}")
            if answer.status_code != ask.status:
                found.append(f"{method} {route}: is answered {answer.status_code}")
        for _, path in NOBODYS:
            answer = ours.door.get(path)
            found += seen(traces, answer.data, str(answer.headers))
        assert found == []

    def test_the_figures_of_all_open_to_no_tenants_key(self, tenants: tuple[Tenant, Tenant]) -> None:
        ours, theirs = tenants
        watched = client(metrics_token=TOKEN)
        answer = Door(watched, ours.door.key).get("/metrics")
        assert answer.status_code == 401
        assert seen(theirs.traces() | SUM, answer.data, str(answer.headers)) == []
        assert "name" in seen(theirs.traces(), Door(watched, TOKEN).get("/metrics").data)

    def test_what_is_anothers_is_answered_as_what_is_not_there(self, tenants: tuple[Tenant, Tenant]) -> None:
        ours, theirs = tenants
        nobody = replace(
            theirs,
            jobs={what: str(uuid.uuid4()) for what in theirs.jobs},
            messages={what: str(uuid.uuid4()) for what in theirs.messages},
        )
        for method, route, asked in each_call():
            if asked(theirs, ours).status == 404:
                anothers, nobodys = (asked(whose, ours).by(ours, method) for whose in (theirs, nobody))
                assert (anothers.status_code, anothers.data) == (nobodys.status_code, nobodys.data), (method, route)

    def test_the_same_calls_reach_what_is_ones_own(self, bench: Bench, tenants: tuple[Tenant, Tenant]) -> None:
        _, theirs = tenants
        unreached = []
        for method, route, asked in each_call():
            before = belongings(bench, theirs)
            answer = asked(theirs, theirs).by(theirs, method)
            shown = seen(theirs.traces(), answer.data, str(answer.headers))
            reached = shown or changed(before, belongings(bench, theirs))
            if not reached and answer.status_code == asked(theirs, theirs).status:
                unreached.append(f"{method} {route}: {answer.status_code}")
        assert unreached == []

    def test_what_the_provider_calls_about_one_does_not_touch_the_other(
        self, bench: Bench, tenants: tuple[Tenant, Tenant]
    ) -> None:
        ours, theirs = tenants
        before = belongings(bench, theirs)
        answer = ours.door.post(f"/callbacks/{ours.token}", {"id": f"{theirs.word}-film"})
        assert answer.status_code == 200
        bench.turn("accept")  # has the call looked into
        assert changed(before, belongings(bench, theirs)) == []
        assert bench.state(ours.jobs["uncertain"]) is State.UNCERTAIN


Words = Callable[[Tenant, str], list[str]]
"""Options about what a tenant has, with `--tenant` of this name."""


def for_tenant(*words: str) -> Words:
    return lambda _it, name: [*words, "--tenant", name]


TENANTS: Final[dict[str, Sequence[Words]]] = {
    "submit": [
        lambda it, name: ["--image", URL, "--tenant", name, "--idempotency-key", it.used()["Idempotency-Key"]],
    ],
    "jobs": [for_tenant(), for_tenant("--state", "completed")],
    "costs": [for_tenant()],
    "report": [for_tenant("--out", "-"), for_tenant("--csv", "-")],
    "apikeys": [for_tenant()],
    "apikeys create": [for_tenant()],
    "webhooks": [
        for_tenant(),
        for_tenant("--state", "dead"),
        lambda it, name: ["--tenant", name, "--job", it.jobs["completed"]],
    ],
    "webhooks replay": [
        for_tenant("--dead"),
        lambda it, name: [it.messages["arrived"], "--tenant", name],
    ],
    "webhooks secrets": [for_tenant()],
    "webhooks rotate": [for_tenant("--overlap-hours", "0")],
    "budgets set": [for_tenant("month", "5")],
    "budgets remove": [for_tenant("day")],
    "pause": [for_tenant("--reason", "its turn")],
    "resume": [for_tenant()],
}
"""Verbs that can be asked about one tenant."""
OPERATORS: Final[dict[str, str]] = {
    "runs the installation, and asks about no tenant": "prune up demo pool gateway flower migrate doctor openapi drain",
    "copies the ledger of all tenants, and puts it back": "backup restore",
    "has nothing to do with what is installed": "completion",
    "shows all tenants side by side: that is what it is for": "queues tenants budgets uncertain rejected top",
    "sums up over all tenants": "metrics reconcile",
    "counts the charges of all tenants again": "budgets.recount",
    "is about one job, whosever it is, by its id": "watch job cancel retry uncertain.bind uncertain.write-off",
    "creates one job anew, whosever it is, by its id": "uncertain.anew",
    "is about requests that were put aside before they were anybody's": "rejected.retry",
    "is about provider keys, which tenants share": "keys keys.set keys.close keys.open",
    "is about one key of the gateway by its id, whosever it is": "apikeys.rotate apikeys.revoke",
    "sets what a tenant gets, which is not for itself to say": "tenants.set",
}
"""The others are for whoever has the database, and with it all tenants' jobs. By the reason."""


def verbs(command: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below this one, by its words."""
    if path:
        yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from verbs(below, *path, name)


@pytest.fixture
def said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Sequence[str]], Result]:
    monkeypatch.setenv("REELWORKS_DATABASE_URL", bench.ctx.ledger.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("REELWORKS_VAR", str(bench.folder))
    return lambda verb, words: CliRunner().invoke(cli, [*verb.split(), *words])


Said = Callable[[str, Sequence[str]], Result]


class TestByTheCommandLine:
    def test_every_verb_has_its_place(self) -> None:
        found = dict(verbs(cli))
        operators = {each.replace(".", " ") for listed in OPERATORS.values() for each in listed.split()}
        assert not operators & TENANTS.keys()
        assert found.keys() == operators | TENANTS.keys()
        takes = {verb for verb, command in found.items() if any("--tenant" in each.opts for each in command.params)}
        assert takes == TENANTS.keys()

    def test_a_verb_for_one_tenant_is_about_no_other(
        self, bench: Bench, tenants: tuple[Tenant, Tenant], said: Said
    ) -> None:
        ours, theirs = tenants
        before = belongings(bench, theirs)
        found = []
        for verb, words in ((verb, words) for verb, listed in TENANTS.items() for words in listed):
            for form in ([], ["--json"]):
                answer = said(verb, [*words(theirs, ours.name), *form])
                visible = seen(theirs.traces() | SUM, answer.output)
                if problems := [*visible, *changed(before, belongings(bench, theirs))]:
                    found.append(f"{verb}: {', '.join(problems)}")
        assert found == []

    def test_the_same_verbs_reach_the_tenant_that_they_name(
        self, bench: Bench, tenants: tuple[Tenant, Tenant], said: Said
    ) -> None:
        _, theirs = tenants
        unreached = []
        for verb, words in ((verb, words) for verb, listed in TENANTS.items() for words in listed):
            before = belongings(bench, theirs)
            answer = said(verb, words(theirs, theirs.name))
            assert answer.exit_code == 0, answer.output
            if not seen(theirs.traces(), answer.output) and not changed(before, belongings(bench, theirs)):
                unreached.append(verb)
        assert unreached == []

    def test_a_tenant_that_is_named_before_a_subverb_is_not_passed_over(
        self, bench: Bench, tenants: tuple[Tenant, Tenant], said: Said
    ) -> None:
        ours, theirs = tenants
        before = belongings(bench, theirs)
        for verb, words in (("webhooks", ["replay", "--dead"]), ("apikeys", ["revoke", theirs.key_id])):
            answer = said(verb, ["--tenant", ours.name, *words])
            assert answer.exit_code == INVALID
            assert "--tenant" in answer.output
        assert changed(before, belongings(bench, theirs)) == []
