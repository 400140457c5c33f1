"""Redis users of `ops/redis/users.acl.example`: what each needs works, and nothing else is allowed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis
from redis.exceptions import NoPermissionError

from schemas import data_url, keys
from schemas.aio import AsyncProducer
from schemas.errors import IdempotencyConflict, JobCancelled
from schemas.jobs import JobView, State
from schemas.producer import Producer
from schemas.records import encode_record
from tasks.lanes import LANES
from tasks.pulse import Pulse
from tests.support.environment import foreign_environment
from tests.support.flower import RECORDS, flower_running
from tests.support.pictures import picture
from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from workers.embedded import EmbeddedStack, StackOptions
from workers.probes import free_port
from workers.stackplan import ROOT, valkey_server_binary

EXAMPLE = ROOT / "ops" / "redis" / "users.acl.example"
USERS = ("admin", "worker", "producer", "celery", "flower")
PASSWORDS = {user: secrets.token_hex(8) for user in USERS}
MODEL = "minimax_hailuo_02_i2v"
PICTURE = data_url(picture(640, 360))


def login(user: str) -> str:
    return f"{user}:{PASSWORDS[user]}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    folder = tmp_path_factory.mktemp("valkey")
    text = EXAMPLE.read_text()
    for user, password in PASSWORDS.items():
        text = text.replace(f"{user.upper()}_SHA256", hashlib.sha256(password.encode()).hexdigest())
    (folder / "users.acl").write_text(text)
    with valkey_server(folder, acl=folder / "users.acl", login=login("admin")) as running:
        yield running


@contextmanager
def connected(server: Valkey, user: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url_for(login(user))) as client:
        yield client


@pytest.fixture(scope="module")
def stack(server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """Workers that know no other user than their own."""
    env = {
        **foreign_environment(),
        "REELWORKS_REDIS_URL": server.url_for(login("worker")),
        "REELWORKS_POLL_FIRST_S": "0.5",
        "REELWORKS_POLL_INTERVAL_S": "0.3",
        "REELWORKS_LANE_IDLE_S": "0.1",
    }
    options = StackOptions(var=tmp_path_factory.mktemp("stack"), speed=100, env=env, flower=False)
    with EmbeddedStack(options) as running:
        yield running


def denials(server: Valkey) -> list[str]:
    return [f"{entry['username']}: {entry['object']}" for entry in server.client.acl_log()]


def test_a_whole_way_runs_with_the_users_of_the_file(server: Valkey, stack: EmbeddedStack) -> None:
    server.client.acl_log_reset()
    request = {"model": MODEL, "first_frame_image": PICTURE, "prompt": "[static]", "resolution": "512P"}
    with Producer(server.url_for(login("producer"))) as producer:
        handle = producer.submit(**request, idempotency_key="once")
        assert producer.submit(**request, idempotency_key="once").id == handle.id
        with pytest.raises(IdempotencyConflict):
            producer.submit(**{**request, "prompt": "[zoom in]"}, idempotency_key="once")
        many = producer.submit_many([request, {**request, "resolution": "768P"}])
        assert [event.event for event in handle.events(timeout=60)][-1] == "charged"
        assert [each.get(timeout=60).state for each in (handle, *many)] == [State.COMPLETED] * 3
        assert handle.info["state"] is State.COMPLETED
    assert denials(server) == []


def test_commands_and_missing_tasks_need_no_more(server: Valkey, stack: EmbeddedStack) -> None:
    missing = {"fault": "http_404", "fault_times": 2}
    slow = {"match": {"prompt_contains": "zoom in"}, "poll": {**missing, "latency_s": 1000}}  # not over when cancelled
    rules = [slow, {"poll": missing}]
    scenario = f"{stack.addresses['provider_url']}/admin/scenario"
    put = urllib.request.Request(scenario, data=json.dumps(rules).encode(), method="PUT")
    urllib.request.urlopen(put, timeout=10).close()
    server.client.acl_log_reset()
    request = {"model": MODEL, "first_frame_image": PICTURE, "prompt": "[static]", "resolution": "512P"}
    with Producer(server.url_for(login("producer"))) as producer:
        assert producer.submit(**request).get(timeout=60).state is State.COMPLETED
        unwanted = producer.submit(**{**request, "prompt": "[zoom in]"})
        unwanted.cancel()
        with pytest.raises(JobCancelled):
            unwanted.get(timeout=60)
    assert denials(server) == []


def test_a_worker_that_comes_back_may_restore_what_it_held(server: Valkey, stack: EmbeddedStack) -> None:
    server.client.acl_log_reset()
    pids = stack.addresses["pids"]
    assert isinstance(pids, dict)
    os.kill(pids["finish"], signal.SIGKILL)
    request = {"model": MODEL, "first_frame_image": PICTURE, "prompt": "[static]", "resolution": "512P"}
    with Producer(server.url_for(login("producer"))) as producer:
        assert producer.submit(**request).get(timeout=60).state is State.COMPLETED
    assert denials(server) == []


def test_what_metrics_read_is_allowed_to_whoever_works(server: Valkey, stack: EmbeddedStack) -> None:
    server.client.acl_log_reset()
    with closing(Pulse(server.url_for(login("worker")))) as pulse:
        read = pulse.gauges.read(tuple(LANES), ("lanes", "create"))
    assert read.is_whole
    assert None not in read.lanes_left_s.values()
    assert denials(server) == []


def test_flower_sees_the_work_as_its_own_user(server: Valkey, stack: EmbeddedStack, tmp_path: Path) -> None:
    env = {
        **foreign_environment(),
        "REELWORKS_REDIS_URL": server.url_for(login("flower")),
        "REELWORKS_VAR": str(tmp_path),
        "REELWORKS_FLOWER_LOGIN": "me:brass",
    }
    server.client.acl_log_reset()
    with flower_running(env, tmp_path / "log") as flower:
        wait_until(lambda: len(flower.nodes()) == 3, within_s=40, what="Flower's workers")
        request = {"model": MODEL, "first_frame_image": PICTURE, "prompt": "[static]", "resolution": "512P"}
        with Producer(server.url_for(login("producer"))) as producer:
            job = producer.submit(**request)
            job.get(timeout=60)
        wait_until(lambda: "reelworks.record" in flower.named(job.id), what="Flower's view of the job")

        def of_create() -> bool:
            flower.nodes()  # Flower knows the queues of those workers that have answered it
            return '"create"' in flower.page("api/queues/length")

        wait_until(of_create, what="the lengths of the queues")
        assert denials(server) == []
        pages = flower.everything(but=[RECORDS])
    assert job.id in pages["api/tasks?limit=1000"]
    assert f"redis://flower:**@127.0.0.1:{server.port}/0" in pages["broker"]
    assert any("redis://worker:**" in text for text in pages.values())
    assert [path for path, text in pages.items() for password in PASSWORDS.values() if password in text] == []


# Any application's; none of our code is in it.
CELERY_CLIENT = """
import json, sys
from celery import Celery
app = Celery(broker=sys.argv[1], backend=sys.argv[1])
sent = app.send_task("reelworks.enqueue", args=[json.load(sys.stdin)], task_id="by-name", queue="reelworks")
print(sent.get(timeout=60)["state"])
"""


def test_a_celery_client_enqueues_and_waits_as_its_own_user(
    server: Valkey, stack: EmbeddedStack, tmp_path: Path
) -> None:
    server.client.acl_log_reset()
    request = {"model": MODEL, "first_frame_image": PICTURE, "prompt": "[static]", "resolution": "512P"}
    command = [sys.executable, "-I", "-c", CELERY_CLIENT, server.url_for(login("celery"))]
    ran = subprocess.run(
        command, input=json.dumps(request), cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert (ran.stdout.strip(), denials(server)) == ("completed", []), ran.stderr


# It asks for films, and reads nobody's request.
NOT_A_CELERY_CLIENTS = [
    ("LRANGE", keys.ENQUEUE_QUEUE, "0", "-1"),
    ("SADD", "_kombu.binding.create", "x"),
    ("BRPOP", keys.ENQUEUE_QUEUE, "1"),
    ("DEL", keys.ENQUEUE_QUEUE),
    ("LPUSH", "create", "{}"),
    ("XADD", keys.REQUESTS, "*", "v", "1"),
    ("XADD", keys.COMMANDS, "*", "v", "1"),
    ("SET", keys.view("job"), "done"),
    ("PUBLISH", keys.view("job"), "done"),
    ("GET", keys.input_blob("a" * 64)),
    ("PUBLISH", "/0.celery.pidbox", "{}"),
    ("EVAL", "return 1", "0"),
]


@pytest.mark.parametrize("command", NOT_A_CELERY_CLIENTS, ids=lambda command: " ".join(command[:2]))
def test_a_celery_client_reaches_nothing_but_its_own(server: Valkey, command: tuple[str, ...]) -> None:
    with connected(server, "celery") as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


SHA256 = "a" * 64


def test_a_producer_in_asyncio_waits_as_its_own_user(server: Valkey) -> None:
    def heard(job_id: str) -> bool:
        return server.client.pubsub_numsub(keys.view(job_id))[0][1] > 0

    def end(job_id: str) -> None:
        record = encode_record(JobView(job_id, State.COMPLETED))
        server.client.set(keys.view(job_id), record)
        server.client.publish(keys.view(job_id), record)

    async def work() -> None:
        async with AsyncProducer(server.url_for(login("producer"))) as producer:
            first, second = (asyncio.create_task(producer.handle(each).get(timeout=60)) for each in ("job-a", "job-b"))
            await asyncio.to_thread(wait_until, lambda: heard("job-a") and heard("job-b"))
            end("job-a")
            assert (await first).state is State.COMPLETED
            await asyncio.to_thread(wait_until, lambda: not heard("job-a"), what="the end of the subscription")
            assert heard("job-b")
            end("job-b")
            assert (await second).state is State.COMPLETED

    asyncio.run(work())


# What a producer has no business with: others' requests and pictures, the workers' own keys, and any listing.
NOT_A_PRODUCERS = [
    ("XRANGE", keys.REQUESTS, "-", "+"),
    ("XREAD", "COUNT", "1", "STREAMS", keys.REQUESTS, "0"),
    ("XREADGROUP", "GROUP", "accept", "me", "STREAMS", keys.REQUESTS, ">"),
    ("XLEN", keys.REQUESTS),
    ("XDEL", keys.REQUESTS, "1-1"),
    ("DEL", keys.REQUESTS),
    ("SET", keys.REQUESTS, "gone"),
    ("EXPIRE", keys.REQUESTS, "1"),
    ("GET", keys.input_blob(SHA256)),
    ("SET", keys.input_blob(SHA256), "x", "GET"),
    ("STRLEN", keys.input_blob(SHA256)),
    ("SET", keys.view("job"), "done"),
    ("PUBLISH", keys.view("job"), "done"),
    ("HSET", keys.LOOKS, "job", "[9, 1]"),
    ("ZRANGE", "reelworks:timetable", "0", "-1"),
    ("LPUSH", "create", "{}"),
    ("BRPOP", "create", "1"),
    ("PUBLISH", "/0.celery.pidbox", "{}"),
    ("PSUBSCRIBE", "*"),
    ("SUBSCRIBE", "/0.celeryev/worker.online"),
    ("EVAL", "return 1", "0"),
]


@pytest.mark.parametrize("command", NOT_A_PRODUCERS, ids=lambda command: " ".join(command[:2]))
def test_a_producer_reaches_nothing_but_its_own(server: Valkey, command: tuple[str, ...]) -> None:
    with connected(server, "producer") as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


@pytest.mark.parametrize(
    "script",
    [
        "return redis.call('XRANGE', KEYS[1], '-', '+')",
        "return redis.call('DEL', KEYS[1])",
        "return redis.call('SET', KEYS[1], 'gone')",
        f"return redis.call('GET', '{keys.input_blob(SHA256)}')",
        "return redis.call('SCAN', '0')",
    ],
)
def test_a_producers_script_may_do_no_more_than_the_producer(server: Valkey, script: str) -> None:
    with connected(server, "producer") as client:
        digest = client.script_load(script)
        with pytest.raises(redis.ResponseError, match=r"(?i)permission|acl"):
            client.evalsha(digest, 1, keys.REQUESTS)


@pytest.mark.parametrize("user", ["worker", "producer", "celery", "flower"])
@pytest.mark.parametrize(
    "command",
    [
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("CONFIG", "GET", "*"),
        ("CONFIG", "SET", "maxmemory", "1"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("RANDOMKEY",),
        ("DEBUG", "SLEEP", "0"),
        ("ACL", "LIST"),
        ("MONITOR",),
        ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "ID", "1"),
        ("SHUTDOWN", "NOSAVE"),
        ("REPLICAOF", "NO", "ONE"),
        ("MODULE", "LIST"),
        ("FUNCTION", "LIST"),
        ("SCRIPT", "FLUSH"),
        ("SAVE",),
        ("MIGRATE", "127.0.0.1", "1", keys.REQUESTS, "0", "1"),
        ("DUMP", keys.REQUESTS),
        ("SET", "something:else", "1"),
    ],
    ids=" ".join,
)
def test_nobody_but_the_admin_runs_admin_commands(server: Valkey, user: str, command: tuple[str, ...]) -> None:
    # DEBUG is off for everyone, admins included, before any user's rights are looked at.
    with connected(server, user) as client, pytest.raises(redis.ResponseError, match=r"permission|not allowed"):
        client.execute_command(*command)


@pytest.mark.parametrize(
    "command", [("GET", keys.view("job")), ("BRPOP", "create", "1"), ("XLEN", keys.REQUESTS), ("LPUSH", "create", "{}")]
)
def test_flower_reads_no_job_and_takes_no_message(server: Valkey, command: tuple[str, ...]) -> None:
    with connected(server, "flower") as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


def test_nobody_comes_in_without_a_name(server: Valkey) -> None:
    with redis.Redis.from_url(server.url_for("")) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_a_file_whose_passwords_were_not_filled_in_starts_no_server(tmp_path: Path) -> None:
    command = [valkey_server_binary(), "--port", str(free_port()), "--dir", str(tmp_path), "--aclfile", str(EXAMPLE)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode != 0
    assert "ACL errors detected" in ended.stdout
