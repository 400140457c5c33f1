"""Tenants on a bench that have something of everything, and all that ledger and Redis hold of one, to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from schemas import keys
from tasks.create import create
from tasks.domain.answers import Accepted, Rejected, Usage
from tasks.domain.api_keys import Scope
from tasks.domain.budgets import Budget, Period, WhenUsedUp
from tasks.domain.delivering import WebhookPolicy
from tasks.ledger import tables
from tasks.ledger.admission import set_tenant
from tasks.ledger.spending import set_budget
from tasks.operating import cancel
from tests.support.bench import MODEL, URL, Bench
from tests.support.doors import TOKENS, Door, client, new_key
from tests.support.every_way import send_webhooks
from tests.support.receiver import receiving
from tests.support.situations import FILM, completed, uncertain, with_policy

NOBODYS: Final = frozenset({"provider_keys"})
"""Tables in which no row is a tenant's."""
REQUEST: Final = {"model": MODEL, "first_frame_image": URL}
ENVELOPE: Final = {"model": MODEL, "input": [{"params": {"first_frame_image": URL}}]}
"""The same, for the provider's own routes."""


@dataclass(frozen=True)
class Tenant:
    """A tenant and what it has. `word` stands in all that it says, `amount_usd` is what its film cost.

    `number`: its idempotency keys hold it. `jobs` and `messages` (webhooks): ids by what became of them. `cursors`: of
    its pages. `link`: to its film. `token`: what the provider was given to call back about its uncertain job.
    """

    name: str
    word: str
    number: int
    amount_usd: Decimal
    door: Door
    batch_id: str
    secret: str
    link: str
    token: str
    jobs: Mapping[str, str]
    messages: Mapping[str, str]
    cursors: Mapping[str, str]

    @property
    def key_id(self) -> str:
        return (self.door.key or "").split("_")[1]

    def used(self, what: str = "film") -> dict[str, str]:
        """An idempotency key that it has used, as a header."""
        return _key(self.number, what)

    def traces(self) -> dict[str, str]:
        """What nobody else may see, by what it is."""
        named = {f"{what} job": job_id for what, job_id in self.jobs.items()}
        named |= {f"{what} webhook": message for what, message in self.messages.items()}
        named |= {"name": self.name, "word": self.word, "amount": f"{self.amount_usd:f}"}
        return named | {"key": self.key_id, "batch": self.batch_id, "secret": self.secret}


def settle(bench: Bench, amounts_usd: Mapping[str, Decimal]) -> list[Tenant]:
    """Tenants of these names, whose jobs have gone every way. Their films are to be `quick_films`."""
    # What is put off stays so, however long the rest takes.
    bench = with_policy(bench, open_tasks_per_key=99, webhook=WebhookPolicy(first_s=3600))
    doors = {name: Door(client(), new_key(bench.ctx.ledger, name, tuple(Scope))) for name in amounts_usd}
    with receiving() as receiver:
        jobs: dict[str, dict[str, str]] = {}
        for number, (name, door) in enumerate(doors.items()):  # before anything else is generating
            told = _told(name, receiver.url)
            job_id = door.post("/v1/jobs", told, headers=_key(number, "film")).get_json()["id"]
            bench.provider.creates.append(Accepted(f"{_word(name)}-film"))
            cost = Usage(amounts_usd[name], raw={"cost": f"{amounts_usd[name]:f}"})
            completed(bench, job_id, replace(FILM, usage=cost))
            jobs[name] = {"completed": job_id}
        send_webhooks(bench)
        for name in doors:
            told = {**_told(name, receiver.url), "tenant": name}
            jobs[name] |= _under_way(bench, told) | _told_in_vain(bench, told, receiver.answers)
    return [
        _tenant(bench, name, number, door, amounts_usd[name], jobs[name])
        for number, (name, door) in enumerate(doors.items())
    ]


def _word(name: str) -> str:
    return f"canary-of-{name}"


def _told(name: str, receiver: str) -> dict[str, Any]:
    word = _word(name)
    return {**REQUEST, "prompt": f"a {word}", "metadata": {"note": word}, "callback_url": f"{receiver}/{word}"}


def _key(number: int, what: str) -> dict[str, str]:
    return {"Idempotency-Key": f"scene-{number}-{what}"}


def _under_way(bench: Bench, told: Mapping[str, Any]) -> dict[str, str]:
    """Jobs that the provider has, may have, and has refused."""
    quiet = {**told, "callback_url": None}
    failed = bench.admitted(**quiet)
    bench.provider.creates.append(Rejected("2013", "bad"))
    create(failed)
    in_doubt = uncertain(bench, **quiet)
    bench.provider.creates.append(Accepted(f"{told['metadata']['note']}-task"))
    return {"failed": failed, "uncertain": in_doubt, "generating": bench.generating(**quiet)}


def _told_in_vain(bench: Bench, told: Mapping[str, Any], answers: list[int]) -> dict[str, str]:
    """Cancelled jobs whose receiver wants no message, and has failed."""
    jobs = {}
    for what, answer in (("dead", 410), ("due", 500)):
        answers.append(answer)
        jobs[what] = bench.submit(**told)
        cancel(bench.ctx, jobs[what])
        send_webhooks(bench)
    return jobs


def _tenant(bench: Bench, name: str, number: int, door: Door, amount_usd: Decimal, jobs: Mapping[str, str]) -> Tenant:
    batch = door.post("/v1/batches", {"jobs": [{**REQUEST, "metadata": {"note": _word(name)}}] * 2}).get_json()
    dropin = door.post("/model/v1/generation", ENVELOPE, headers=_key(number, "dropin")).get_json()["id"]
    with bench.ctx.ledger.begin() as tx:
        set_tenant(tx, name, weight=2.5, jobs_limit=1000)
        set_budget(tx, Budget(name, Period.DAY, 1000 * amount_usd, WhenUsedUp.WAIT))
    film = door.get(f"/model/v1/generation/task/{jobs['completed']}").get_json()
    (attempt,) = [row.id for row in bench.rows(tables.attempts) if row.job_id == jobs["uncertain"]]
    return Tenant(
        name=name,
        word=_word(name),
        number=number,
        amount_usd=amount_usd,
        door=door,
        batch_id=batch["batch_id"],
        secret=door.get("/v1/webhooks/secrets").get_json()["secrets"][0]["secret"],
        link=film["output"][0]["content"][0]["url"].removeprefix("http://localhost"),
        token=TOKENS.token(attempt),
        jobs={**jobs, "dropin": dropin, "queued": batch["jobs"][0]["id"], "batched": batch["jobs"][1]["id"]},
        messages={each["state"]: each["id"] for each in door.get("/v1/webhooks").get_json()["webhooks"]},
        cursors={what: door.get(f"/v1/{what}?limit=1").get_json()["next_cursor"] for what in ("jobs", "webhooks")},
    )


def belongings(bench: Bench, tenant: Tenant) -> dict[str, Any]:
    """All of a tenant's rows, by table, and all that Redis has of it, by key."""
    with bench.ctx.ledger.read() as tx:
        rows = {
            table.name: sorted(map(repr, tx.execute(sa.select(table).where(_is_of(table, tenant.name)))))
            for table in tables.metadata.sorted_tables
            if table.name not in NOBODYS
        }
    return {**rows, **_in_redis(bench, tenant)}


def _is_of(table: sa.Table, name: str) -> sa.ColumnElement[bool]:
    if "tenant" in table.c:
        return table.c.tenant == name
    if "job_id" in table.c:
        return table.c.job_id.in_(sa.select(tables.jobs.c.id).where(tables.jobs.c.tenant == name))
    if table is tables.tenants:
        return table.c.name == name
    if table is tables.receivers:
        return table.c.name.startswith(f"{name} ", autoescape=True)
    raise AssertionError(f"whose are the rows of {table.name}? Say it here, or that they are nobody's.")


def _in_redis(bench: Bench, tenant: Tenant) -> dict[str, Any]:
    redis: Any = bench.ctx.pulse.redis
    traces = tenant.traces().values()
    named = [name for name in map(bytes.decode, sorted(redis.keys())) if any(trace in name for trace in traces)]
    found: dict[str, Any] = {name: redis.dump(name) for name in named}
    for job_id in tenant.jobs.values():
        found[f"look at {job_id}"] = (redis.zscore(keys.TIMETABLE, job_id), redis.hget(keys.LOOKS, job_id))
    for stream in (keys.REQUESTS, keys.COMMANDS):
        entries = map(repr, redis.xrange(stream))
        found[stream] = [entry for entry in entries if any(trace in entry for trace in (*traces, tenant.token))]
    return found


def seen(traces: Mapping[str, str], *said: bytes | str) -> list[str]:
    """Which of these traces stand in what was said."""
    texts = [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in said]
    return [what for what, trace in traces.items() if any(trace in text for text in texts)]


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[str]:
    """Where something is not as it was."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
