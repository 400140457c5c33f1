"""Secrets that the provider repeats at us, on every way a job can end, and what holds a word of them afterwards.

The key looks like nothing in particular, logs are at DEBUG, and exceptions reach Flower. Prompts and signed URLs stand
in the ledger's columns for the request and the provider's answer, and nowhere else; the key and what is in a picture
stand nowhere at all.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from schemas.errors import JobFailed
from schemas.handle import Handle
from schemas.jobs import State
from schemas.producer import Producer
from tests.support import simulator
from tests.support.canaries import KEY, PROMPT, SECRETS, SIGNATURE, echo, leaks, picture
from tests.support.environment import foreign_environment
from tests.support.flower import Flower
from tests.support.gate import Gate
from tests.support.waiting import wait_until
from tests.support.works import MODEL, QUICK
from workers.embedded import EmbeddedStack, StackOptions
from workers.pools import PoolSizes

# The waits of a test may come to more than the usual bound.
pytestmark = pytest.mark.timeout(300)

BY_DESIGN = {("jobs", "request"): ("a prompt",), ("jobs", "answer"): ("a signed URL",)}


@dataclass(frozen=True)
class Aviary:
    """A stack at whose provider every answer can be held back."""

    stack: EmbeddedStack
    provider: simulator.Simulator
    gate: Gate
    producer: Producer
    flower: Flower
    var: Path

    @property
    def ledger(self) -> Path:
        return self.var / "reelworks.db"

    def submit(self, kind: str) -> Handle:
        return self.producer.submit(
            model=MODEL, first_frame_image=picture(), prompt=f"[static] {PROMPT} {kind}", resolution="512P"
        )

    def logs(self) -> dict[str, str]:
        return {f"log {path.name}": path.read_text(errors="replace") for path in (self.var / "logs").iterdir()}

    def spool(self) -> dict[str, str]:
        return {f"spool {path.name}": path.read_text() for path in (self.var / "spool").glob("*")}

    def pages(self, job_id: str) -> dict[str, str]:
        """All that Flower shows, the record of this job among it."""
        return {f"Flower {path}": text for path, text in self.flower.everything([job_id]).items()}

    def redis(self) -> dict[str, str]:
        with redis.Redis.from_url(str(self.stack.addresses["redis_url"])) as client:
            found = {f"Redis {key!r}": dump(client, key) for key in client.scan_iter()}
            # What Celery and the intake hold as base64 is read through.
            return found | {f"{name}, decoded": decoded(text) for name, text in found.items()}

    def rows(self) -> dict[tuple[str, str], str]:
        """The whole content of each column of the ledger."""
        with closing(sqlite3.connect(self.ledger)) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            columns = [(table, row[1]) for table in tables for row in db.execute(f'PRAGMA table_info("{table}")')]
            return {
                (table, column): repr(db.execute(f'SELECT "{column}" FROM "{table}"').fetchall())
                for table, column in columns
            }

    @contextmanager
    def without_timeline(self) -> Iterator[None]:
        """Whatever changes a job fails in the database meanwhile, with all that it would have written at hand."""
        self._sql("ALTER TABLE timeline RENAME TO timeline_away")
        try:
            yield
        finally:
            self._sql("ALTER TABLE timeline_away RENAME TO timeline")

    def _sql(self, statement: str) -> None:
        with closing(sqlite3.connect(self.ledger, timeout=20, isolation_level=None)) as db:
            db.execute("PRAGMA legacy_alter_table = ON")  # what refers to the table goes on to do so
            db.execute(statement)


@pytest.fixture
def aviary(tmp_path: Path) -> Iterator[Aviary]:
    var = tmp_path / "var"
    with simulator.running(tmp_path, "--keys", KEY, "--speed", "100") as provider:
        gate = Gate(int(provider.url.rpartition(":")[2]))
        env = {
            **foreign_environment(),
            **QUICK,
            "REELWORKS_PROVIDER_URL": gate.url,
            "REELWORKS_OUTPUT_PRIVATE": "127.0.0.1",
            "REELWORKS_PROVIDER_KEYS": f"main={KEY}",
            "REELWORKS_LOG_LEVEL": "DEBUG",
            "REELWORKS_DOWNLOAD_TRIES": "2",
        }
        sizes = PoolSizes(create_concurrency=1)
        with EmbeddedStack(StackOptions(var=var, env=env, pool_sizes=sizes)) as stack:
            where = stack.addresses
            with Producer(str(where["redis_url"])) as producer:
                flower = Flower(str(where["flower_url"]), str(where["flower_login"]))
                yield Aviary(stack, provider, gate, producer, flower, var)
            gate.close()


def dump(client: redis.Redis, key: bytes) -> str:
    kind = client.type(key).decode()
    read: Any = {
        "string": client.get,
        "hash": client.hgetall,
        "list": lambda k: client.lrange(k, 0, -1),
        "set": client.smembers,
        "zset": lambda k: client.zrange(k, 0, -1, withscores=True),
        "stream": client.xrange,
        "none": lambda _: "",  # it has gone meanwhile
    }[kind]
    return repr(read(key))


def decoded(text: str) -> str:
    """Whatever stands in a message's body."""
    bodies = [part.split('"')[1] for part in text.split('"body"')[1:]]
    found = []
    for body in bodies:
        with suppress(ValueError):
            found.append(base64.b64decode(body).decode(errors="replace"))
    return "\n".join(found)


def test_what_the_provider_repeats_is_nowhere_but_in_the_ledgers_own_columns(aviary: Aviary) -> None:
    for secret in (KEY, PROMPT, SIGNATURE):
        assert secret in echo("")
    gone = f"{aviary.provider.url}/files/none/film.mp4?expires=1&sig={SIGNATURE}"
    aviary.provider.script(
        rule("doubtful", create={"status": 500, "body": {"error": {"code": KEY, "message": echo("doubtful")}}}),
        rule("refused", create={"status": 400, "body": {"error": {"code": KEY, "message": echo("refused")}}}),
        {
            **rule("unwelcome", create={"status": 401, "body": {"message": f"invalid api key: {echo('unwelcome')}"}}),
            "times": 1,
        },
        rule("failed", poll={"outcome": "failed", "code": KEY, "message": echo("failed")}),
        rule("not stored", output={"url": gone}),
        rule("odd", poll={"words": {"in_progress": f"busy with {KEY}"}, "latency_s": 100}),
        rule("open", poll={"never": True}),
    )
    # The answer to one create comes while the database takes nothing, and the next create meets that.
    aviary.gate.shut(b"POST ")
    doubtful = aviary.submit("doubtful")
    wait_until(lambda: aviary.gate.held, what="the provider's answer on its way")
    raising = aviary.submit("raising")
    wait_until(lambda: state(aviary, raising) == State.ADMITTED, what="a create that waits for its turn")
    with aviary.without_timeline():
        aviary.gate.let_go()
        wait_until(aviary.spool, what="the answer in the spool")
        wait_until(lambda: raised(aviary), what="an exception in Flower")
        assert nothing_leaked_into(aviary.spool(), known=doubtful.id)
        assert nothing_leaked_into(aviary.pages(raising.id), known="Traceback (most recent call last)")
        search(aviary, known=raising.id)

    handles = {
        kind: aviary.submit(kind) for kind in ("refused", "unwelcome", "failed", "not stored", "odd", "open", "fine")
    }
    ends = {
        "refused": State.FAILED,
        "failed": State.FAILED,
        "not stored": State.FAILED,
        "unwelcome": State.COMPLETED,
        "odd": State.COMPLETED,
        "fine": State.COMPLETED,
        "open": State.GENERATING,
    }
    for kind, end in ends.items():
        wait_until(lambda: state(aviary, handles[kind]) == end, within_s=60, what=f"{kind} {end}")  # noqa: B023
    wait_until(lambda: state(aviary, raising) == State.COMPLETED, within_s=60, what="the one that had raised")
    wait_until(lambda: state(aviary, doubtful) == State.UNCERTAIN, within_s=60, what="the one in doubt")
    for kind in ("refused", "failed", "not stored"):
        with pytest.raises(JobFailed) as caught:
            handles[kind].get(timeout=20)
        assert nothing_leaked_into({"JobFailed": f"{caught.value!r} {caught.value.message}"}, known=handles[kind].id)
    wait_until(lambda: len(aviary.flower.named(handles["fine"].id)) == 3, what="Flower's view")
    for kind in ("refused", "failed", "not stored"):
        wait_until(lambda: handles[kind].id in aviary.flower.tasks(), what="Flower's view of a failure")  # noqa: B023
    search(aviary, known=handles["fine"].id)


def rule(kind: str, **groups: Any) -> dict[str, Any]:
    return {"match": {"prompt_contains": f"rain {kind}"}, **groups}


def state(aviary: Aviary, handle: Handle) -> str | None:
    with closing(sqlite3.connect(aviary.ledger)) as db:
        row = db.execute("SELECT state FROM jobs WHERE id = ?", [handle.id]).fetchone()
    return None if row is None else str(row[0])


def raised(aviary: Aviary) -> bool:
    return any(task["state"] == "FAILURE" and task["exception"] for task in aviary.flower.tasks().values())


def search(aviary: Aviary, *, known: str) -> None:
    """Everywhere but in the spool. `known` is a job's id, which the same search has to find in every place."""
    assert nothing_leaked_into(aviary.logs(), known=known)
    assert nothing_leaked_into(aviary.redis(), known=known)
    assert nothing_leaked_into(aviary.pages(known), known=known)
    rows = aviary.rows()
    assert nothing_leaked_into(
        {f"ledger {'.'.join(place)}": text for place, text in rows.items() if place not in BY_DESIGN}, known=known
    )
    for place, secrets in BY_DESIGN.items():
        others = {what: words for what, words in SECRETS.items() if what not in secrets}
        assert leaks({f"ledger {'.'.join(place)}": rows[place]}, others) == []
    assert leaks({"request": rows["jobs", "request"]}, {"a prompt": SECRETS["a prompt"]})  # so it would be found


def nothing_leaked_into(texts: Mapping[str, str], *, known: str) -> bool:
    assert leaks(texts, SECRETS) == []
    return any(known in text for text in texts.values())
