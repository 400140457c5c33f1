"""What strangers may put on a queue: it is never run, and the worker goes on."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.ledger import Ledger
from tasks.ledger.migrate import upgrade
from tests.support.environment import foreign_environment
from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from workers import pools
from workers.stackplan import ROOT

KEY = "sk-canary-key-9b2e"
TASKS = {"create": "reelworks.create", "finish": "reelworks.record"}


@dataclass(frozen=True)
class Worker:
    """A pool's own command, for one task at a time: a message that keeps its place would stop it."""

    pool: str
    process: subprocess.Popen[bytes]
    valkey: Valkey
    log: Path
    ran: Path

    def put(self, raw: bytes | str) -> None:
        self.valkey.client.lpush(self.pool, raw)

    def message(self, content: bytes, **changes: Any) -> dict[str, Any]:
        """A message as Celery would send it, with these changes to its parts."""
        message_id = str(uuid.uuid4())
        headers = {"lang": "py", "task": TASKS[self.pool], "id": message_id, "root_id": message_id, "parent_id": None}
        properties = {
            "correlation_id": message_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": self.pool},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        }
        whole = {
            "body": base64.b64encode(content).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }
        return {**whole, **changes}

    def works_on(self) -> None:
        """It takes the next message. That one has an argument too many: a task says so in the log when it runs."""
        probe = self.message(b"[[7, 7, 7], {}, null]")
        self.put(json.dumps(probe))
        mark = f"{TASKS[self.pool]}[{probe['headers']['id']}]"
        wait_until(lambda: mark in self.log.read_text(), within_s=60, what="the next message being worked on")
        assert self.process.poll() is None


@pytest.fixture(scope="module", params=["create", "finish"])
def worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("worker")
    ledger = Ledger(f"sqlite:///{folder}/reelworks.db")
    upgrade(ledger)
    ledger.close()
    with valkey_server(folder) as valkey, (folder / "worker.log").open("wb") as log:
        env = {
            **foreign_environment(),
            "REELWORKS_REDIS_URL": valkey.url,
            "REELWORKS_DATABASE_URL": f"sqlite:///{folder}/reelworks.db",
            "REELWORKS_VAR": str(folder),
            "VTRIX_API_KEY": KEY,
        }
        sizes = pools.PoolSizes(1, 1, 1)
        process = subprocess.Popen(pools.command(request.param, sizes), env=env, cwd=ROOT, stdout=log, stderr=log)
        try:
            made = Worker(request.param, process, valkey, folder / "worker.log", folder / "ran")
            made.works_on()
            yield made
        finally:
            process.terminate()
            process.wait(30)
    assert KEY not in made.log.read_text()


class Bomb:
    """Something that runs a command where it is unpickled."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.ran}",)


def test_the_bombs_would_go_off_where_they_are_decoded(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "pickle")))
    yaml.unsafe_load(_yaml_bomb(tmp_path / "yaml"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pickle", "yaml"]


def _yaml_bomb(ran: Path) -> bytes:
    return f"!!python/object/apply:os.system ['touch {ran}']".encode()


@pytest.mark.parametrize("kind", ["application/x-python-serialize", "pickle", "application/data", "application/json"])
def test_a_pickle_is_not_run(worker: Worker, kind: str) -> None:
    body = pickle.dumps([[], {"job": Bomb(worker.ran)}, {}])
    worker.put(json.dumps(worker.message(body, **{"content-type": kind, "content-encoding": "binary"})))
    worker.works_on()
    assert not worker.ran.exists()


@pytest.mark.parametrize("kind", ["application/x-yaml", "yaml", "application/json"])
def test_yaml_is_not_run(worker: Worker, kind: str) -> None:
    worker.put(json.dumps(worker.message(_yaml_bomb(worker.ran), **{"content-type": kind})))
    worker.works_on()
    assert not worker.ran.exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello",
        pickle.dumps({"job": "x"}),
        b"\xff\xfe\x00",
        b"7",
        b"null",
        b"[1, 2]",
        b"{}",
        b'"text"',
        b"[" * 100_000,
        b'{"__type__": "decimal", "__value__": "canary"}',
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_is_no_message_does_not_end_a_worker(worker: Worker, raw: bytes) -> None:
    worker.put(raw)
    worker.works_on()


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": None},
        {"headers": [1]},
        {"headers": {"task": ["a"], "id": "x"}},
        {"headers": {"task": "reelworks.create"}},
        {"headers": {"task": "reelworks.create", "id": "x", "timelimit": 5}},
        {"headers": {"task": "reelworks.create", "id": "x", "eta": "never"}},
        {"headers": {"task": "reelworks.create", "id": "x", "expires": {"a": 1}}},
        {"headers": {"task": "os.system", "id": "x"}},
        {"properties": None},
        {"properties": [1]},
        {"properties": {}},
        {"properties": {"delivery_tag": "t", "body_encoding": "base64"}},
        {"properties": {"delivery_tag": {"a": 1}, "delivery_info": {"exchange": "", "routing_key": "x"}}},
        {"properties": {"delivery_tag": "\ud800", "delivery_info": {"exchange": "", "routing_key": "x"}}},
        {"properties": {"delivery_tag": 7, "delivery_info": {"exchange": "", "routing_key": "x"}}},
        {"body": None},
        {"body": "%%%"},
        {"body": base64.b64encode(b"7").decode()},
        {"body": base64.b64encode(b"{{{").decode()},
        {"body": base64.b64encode(b"\xff").decode()},
        {"content-type": None},
        {"content-encoding": "rot13"},
    ],
    ids=lambda changes: json.dumps(changes)[:60],
)
def test_a_message_of_another_form_does_not_end_a_worker(worker: Worker, changes: dict[str, Any]) -> None:
    worker.put(json.dumps(worker.message(b'[[], {"job": "x"}, {}]', **changes)))
    worker.works_on()


def test_what_is_dropped_is_said_and_not_quoted(worker: Worker) -> None:
    before = worker.log.read_text().count("message_dropped")
    worker.put("canary of brass")
    worker.put(json.dumps(worker.message(b"[[], {}, {}]", headers=["canary of brass"])))
    worker.works_on()
    log = worker.log.read_text()
    assert log.count("message_dropped") == before + 2
    assert "canary of brass" not in log
