"""The whole way of a job on the embedded stack: real broker, real workers, the simulator, SQLite, real films."""

from __future__ import annotations

import io
import json
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import av
import psutil
import pytest
import redis
import sqlalchemy as sa
from PIL import Image

from ops.simulator.bill import read_bill
from schemas import data_url
from schemas.errors import IdempotencyConflict, JobFailed
from schemas.jobs import JobView, State
from schemas.producer import Producer
from tasks.ledger import Ledger, tables
from tests.support.environment import foreign_environment
from tests.support.flower import CHANGING, Flower
from tests.support.waiting import wait_until
from workers.embedded import EmbeddedStack, StackOptions

MODEL = "minimax_hailuo_02_i2v"
KEY = "sk-canary-key-7d1f"
PROMPT = "[static] a canary of brass sings in the rain"
WAY = ["accept", "admit", "begin", "accepted", "completed", "stored", "charged"]


@dataclass(frozen=True)
class Stack:
    """A running stack and a producer that knows nothing of it but the address of its Redis."""

    stack: EmbeddedStack
    producer: Producer
    redis_url: str
    provider_url: str
    store: Path
    bill: Path
    ledger: Ledger
    flower: Flower

    def script(self, *rules: dict[str, Any]) -> None:
        """Set the provider's scenario; creates are counted anew."""
        body = json.dumps(list(rules)).encode()
        request = urllib.request.Request(f"{self.provider_url}/admin/scenario", data=body, method="PUT")
        urllib.request.urlopen(request, timeout=5).close()

    def charged_usd(self) -> Decimal:
        with self.ledger.read() as tx:
            return tx.execute(sa.select(sa.func.sum(tables.charges.c.amount_usd))).scalar() or Decimal(0)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    var = tmp_path_factory.mktemp("stack")
    env = {
        **foreign_environment(),
        "REELWORKS_PROVIDER_KEYS": f"main={KEY}",
        "FLOWER_UNAUTHENTICATED_API": "true",
        "REELWORKS_POLL_FIRST_S": "0.5",
        "REELWORKS_POLL_INTERVAL_S": "0.3",
        "REELWORKS_LANE_IDLE_S": "0.1",
        "REELWORKS_LANE_TTL_S": "10",
        "REELWORKS_LANE_CHECK_S": "0.5",
        "REELWORKS_SWEEP_INTERVAL_S": "0.5",
        "REELWORKS_HANDOVER_S": "2",
        "REELWORKS_WORK_LEASE_S": "3",
        "REELWORKS_CREATE_RETRY_S": "0.2",
        "REELWORKS_KEY_PAUSE_S": "0.5",
        "REELWORKS_DOWNLOAD_RETRY_S": "0.2",
    }
    with EmbeddedStack(StackOptions(var=var, speed=100, env=env)) as stack:
        addresses = {name: str(value) for name, value in stack.addresses.items()}
        ledger = Ledger(addresses["database_url"])
        with Producer(addresses["redis_url"]) as producer:
            yield Stack(
                stack,
                producer,
                addresses["redis_url"],
                addresses["provider_url"],
                Path(addresses["store"]),
                Path(addresses["bill"]),
                ledger,
                Flower(addresses["flower_url"], addresses["flower_login"]),
            )
        ledger.close()


@pytest.fixture(autouse=True)
def plain_provider(running: Stack) -> None:
    running.script()


def picture(width: int, height: int) -> str:
    """A picture as a data URL: brighter to the right, so that a film shows which way the camera went."""
    image = Image.linear_gradient("L").rotate(90).resize((width, height)).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return data_url(buffer.getvalue())


SMALL = picture(640, 360)


def request(**changes: Any) -> dict[str, Any]:
    given = {"model": MODEL, "first_frame_image": SMALL, "prompt": "[static]", "resolution": "512P"}
    return {**given, **changes}


def brightness(frame: av.VideoFrame) -> float:
    return sum(frame.to_image().convert("L").resize((1, 1), Image.Resampling.BOX).tobytes())


def events_of(view: JobView) -> list[str]:
    return [event.event for event in view.events]


def test_requests_become_films_and_charges(running: Stack) -> None:
    before = running.charged_usd()
    wide = running.producer.submit(
        **request(resolution="768P", prompt="[pan left]", first_frame_image=picture(800, 450))
    )
    tall = running.producer.submit(**request(first_frame_image=picture(450, 800), metadata={"shot": 7}))
    views = [handle.get(timeout=60) for handle in (wide, tall)]

    assert [events_of(view) for view in views] == [WAY, WAY]
    assert [view.charged_usd for view in views] == [Decimal("0.28"), Decimal("0.10")]
    assert running.charged_usd() - before == Decimal("0.38")
    assert views[1].metadata == {"shot": 7}
    shapes = []
    for view in views:
        (output,) = view.outputs
        path = running.store / output.path
        assert path.stat().st_size == output.size_bytes
        assert output.mismatch is None
        with av.open(str(path)) as film:
            frames = [frame for number, frame in enumerate(film.decode(video=0)) if number % 24 == 0]
            shapes.append((frames[0].width, frames[0].height, round(float(film.duration or 0) / 1e6)))
            if view.job_id == wide.id:  # the camera goes left, to where the picture is darker
                assert brightness(frames[-1]) < brightness(frames[0])
    assert shapes == [(1366, 768, 6), (512, 910, 6)]
    assert list((running.store / ".parts").iterdir()) == []


def test_a_text_alone_becomes_a_film_and_a_charge(running: Stack) -> None:
    text = {"model": "minimax_hailuo_23_t2v", "prompt": "a lake at dawn [pan left]", "fast_pretreatment": True}
    handle = running.producer.submit(**text)
    view = handle.get(timeout=60)

    assert events_of(view) == WAY
    assert view.charged_usd == Decimal("0.28")
    (output,) = view.outputs
    assert output.mismatch is None
    with av.open(str(running.store / output.path)) as film:
        stream = film.streams.video[0]
        assert (stream.width, stream.height, round(float(film.duration or 0) / 1e6)) == (1366, 768, 6)
    task, bill = _task_of(running, handle.id), read_bill(running.bill)
    assert bill.usd_by_task[task] == Decimal("0.28")
    (create,) = [create for create in bill.creates if create.task == task]
    assert (create.model, create.resolution, create.duration_s) == ("minimax_hailuo_23_t2v", "768P", 6)


def test_the_ledger_and_the_providers_bill_agree_to_the_cent(running: Stack) -> None:
    handles = running.producer.submit_many([request(idempotency_key=f"bill-{n}") for n in range(12)])
    for handle in handles:
        handle.get(timeout=60)
    bill = read_bill(running.bill)
    with running.ledger.read() as tx:
        charged = {row.provider_task_id: row.amount_usd for row in tx.execute(sa.select(tables.charges))}
        attempts = tx.execute(sa.select(sa.func.count()).select_from(tables.attempts)).scalar()
    assert charged == bill.usd_by_task
    assert sum(charged.values()) == bill.billed_usd
    assert len(bill.creates) == attempts


def test_a_key_of_idempotency_is_one_job(running: Stack) -> None:
    first = running.producer.submit(**request(idempotency_key="once"))
    again = running.producer.submit(**request(idempotency_key="once"))
    assert first.id == again.id
    with pytest.raises(IdempotencyConflict):
        running.producer.submit(**request(idempotency_key="once", prompt="[zoom in]"))
    first.get(timeout=60)
    assert len([c for c in read_bill(running.bill).creates if c.task == _task_of(running, first.id)]) == 1


def _task_of(running: Stack, job_id: str) -> str:
    with running.ledger.read() as tx:
        return str(tx.execute(sa.select(tables.jobs.c.provider_task_id).where(tables.jobs.c.id == job_id)).scalar())


def test_the_providers_failure_reaches_the_producer_with_code_and_sentence(running: Stack) -> None:
    failure = {"outcome": "failed", "code": "010004095", "message": "Internal generation error"}
    running.script({"match": {"nth": 1}, "poll": failure})
    with pytest.raises(JobFailed) as caught:
        running.producer.submit(**request()).get(timeout=60)
    assert caught.value.code == "010004095"
    assert caught.value.message == "Internal generation error"


def test_a_throttled_create_is_tried_again_and_paid_once(running: Stack) -> None:
    running.script({"match": {"chance": 1}, "times": 2, "create": {"status": 429}})
    handle = running.producer.submit(**request())
    view = handle.get(timeout=60)
    assert events_of(view) == [*WAY[:3], "unsent", *WAY[1:3], "unsent", *WAY[1:]]
    assert view.charged_usd == Decimal("0.10")


def test_a_create_of_unknown_outcome_is_parked_and_not_repeated(running: Stack) -> None:
    creates = len(read_bill(running.bill).creates)
    running.script({"match": {"nth": 1}, "create": {"fault": "http_500_after_accept"}})
    handle = running.producer.submit(**request())
    wait_until(lambda: handle.state is State.UNCERTAIN, what="the job being parked")
    assert len(read_bill(running.bill).creates) == creates + 1
    with running.ledger.read() as tx:
        attempt = tx.execute(sa.select(tables.attempts).where(tables.attempts.c.job_id == handle.id)).one()
    assert (attempt.outcome, attempt.http_status) == ("unknown", 500)


def test_a_cost_that_can_not_be_read_is_estimated_and_marked(running: Stack) -> None:
    running.script({"match": {"nth": 1}, "poll": {"cost_form": "garbage"}})
    view = running.producer.submit(**request()).get(timeout=60)
    assert (view.charged_usd, view.charge_estimated) == (Decimal("0.10"), True)


def test_a_film_that_is_not_what_was_asked_for_is_kept_with_the_difference(running: Stack) -> None:
    running.script({"match": {"nth": 1}, "output": {"duration_s": 4, "count": 1}})
    view = running.producer.submit(**request(prompt="[tilt up]")).get(timeout=60)
    assert view.outputs[0].mismatch is not None
    assert "instead of 6 s" in view.outputs[0].mismatch


def test_all_contents_of_all_outputs_are_kept(running: Stack) -> None:
    running.script({"match": {"nth": 1}, "output": {"contents": 2, "cover": True}})
    view = running.producer.submit(**request()).get(timeout=60)
    assert [output.type for output in view.outputs] == ["video", "video", "image"]
    assert all((running.store / output.path).is_file() for output in view.outputs)


def test_an_expired_url_is_refreshed_by_a_poll_and_not_created_again(running: Stack) -> None:
    creates = len(read_bill(running.bill).creates)
    running.script({"match": {"nth": 1}, "output": {"fault": "url_expired"}})
    view = running.producer.submit(**request()).get(timeout=60)
    assert view.state is State.COMPLETED
    assert len(read_bill(running.bill).creates) == creates + 1


def test_a_completion_without_output_fails_and_is_charged_all_the_same(running: Stack) -> None:
    running.script({"match": {"nth": 1}, "output": {"count": 0}})
    handle = running.producer.submit(**request())
    with pytest.raises(JobFailed, match="without an output"):
        handle.get(timeout=60)
    view = handle.view()
    assert view is not None
    assert view.charged_usd == Decimal("0.10")


def test_what_is_malformed_is_put_aside_with_its_reason(running: Stack) -> None:
    with redis.Redis.from_url(running.redis_url) as client:
        client.xadd("reelworks:requests", {"job": "bad-json", "request": "{"})
        client.xadd("reelworks:requests", {"job": "bad-request", "request": '{"model": "nope"}'})
        client.xadd("reelworks:requests", {"something": b"\xff\xfe"})
    with pytest.raises(JobFailed, match="model"):
        running.producer.handle("bad-request").get(timeout=20)
    # Entries that spoil a batch are taken one by one: the third may come after the second's answer.
    reasons = wait_until(lambda: _reasons(running.ledger, at_least=3), what="all three put aside")
    assert len(reasons) == 3


def _reasons(ledger: Ledger, *, at_least: int) -> list[str] | None:
    with ledger.read() as tx:
        reasons = list(tx.execute(sa.select(tables.rejected.c.reason)).scalars())
    return reasons if len(reasons) >= at_least else None


@pytest.mark.timeout(300)
def test_a_killed_worker_is_started_again_and_the_jobs_go_on(running: Stack) -> None:
    running.script({"match": {"chance": 1}, "poll": {"latency_s": 1500}})
    handles = running.producer.submit_many([request() for _ in range(4)])
    # A create that a kill interrupts is in doubt, and not what this is about.
    wait_until(lambda: all(h.state is State.GENERATING for h in handles), within_s=60, what="all jobs generating")
    killed = pids(running)
    for part in ("lanes", "create", "finish"):
        psutil.Process(killed[part]).send_signal(signal.SIGKILL)
    wait_until(lambda: pids(running).get("create") != killed["create"], what="the end of who creates")
    running.script()
    handles += running.producer.submit_many([request() for _ in range(2)])
    assert [handle.get(timeout=90).state for handle in handles] == [State.COMPLETED] * 6


def pids(running: Stack) -> dict[str, int]:
    """Of the parts that run at this moment."""
    found: Any = running.stack.addresses["pids"]
    return dict(found)


def test_a_wiped_redis_is_filled_again_from_the_ledger(running: Stack) -> None:
    running.script({"match": {"chance": 1}, "poll": {"latency_s": 1500}})
    handles = running.producer.submit_many([request() for _ in range(3)])
    wait_until(lambda: all(h.state is State.GENERATING for h in handles), what="all jobs generating")
    with redis.Redis.from_url(running.redis_url) as client:
        client.flushall()
    assert [handle.get(timeout=60).state for handle in handles] == [State.COMPLETED] * 3


def test_progress_and_next_look_are_in_the_info(running: Stack) -> None:
    running.script({"match": {"nth": 1}, "poll": {"latency_s": 400}})
    handle = running.producer.submit(**request())
    info = wait_until(lambda: _info_with_progress(handle.info), what="a look that brings progress")
    assert 0 < info["progress"] < 1
    assert info["polls"] >= 1
    assert abs((info["next_look_at"] - datetime.now(UTC)).total_seconds()) < 10
    handle.get(timeout=60)


def _info_with_progress(info: dict[str, Any]) -> dict[str, Any] | None:
    return info if info["progress"] else None


def test_key_and_prompt_are_nowhere_but_in_the_database_and_at_the_provider(running: Stack) -> None:
    good = running.producer.submit(**request(prompt=PROMPT))
    good.get(timeout=60)
    running.script({"match": {"nth": 1}, "poll": {"outcome": "failed", "message": "refused"}})
    bad = running.producer.submit(**request(prompt=PROMPT))
    with pytest.raises(JobFailed):
        bad.get(timeout=60)
    flower = running.flower
    wait_until(lambda: len(flower.named(good.id)) == 3, what="Flower's view")
    wait_until(lambda: len(flower.named(bad.id)) == 2, what="Flower's view of the failure")
    pages = [*flower.everything([good.id, bad.id]).values()]
    open_to_all = [flower.ask(path, login="")[1] for path in ("metrics", "healthcheck")]
    shown = flower.tasks(good.id)
    with redis.Redis.from_url(running.redis_url) as client:
        held = [json.dumps([key.decode(), _dump(client, key)]) for key in client.scan_iter()]
    logs = [path.read_text(errors="replace") for path in Path(str(running.stack.addresses["logs"])).iterdir()]
    assert len(held) > 5
    assert any(good.id in log for log in logs)
    assert flower.named(good.id) == ["reelworks.create", "reelworks.download", "reelworks.record"]
    fields = repr({"job": good.id, "model": MODEL, "seconds": 6, "resolution": "512P"})
    assert {task["kwargs"] for task in shown.values()} == {fields}
    assert flower.named(bad.id) == ["reelworks.create", "reelworks.job"]
    failure = flower.tasks(f"state:FAILURE {bad.id}")[bad.id]  # the job's own, and no other
    assert failure["exception"] == "refused [010004095, generating]"
    for secret in (KEY, "canary of brass", SMALL[30:90], "&sig="):
        for where, texts in {"redis": held, "logs": logs, "flower": pages + open_to_all}.items():
            assert not any(secret in text for text in texts), f"a secret stands in {where}"


@pytest.mark.parametrize("path", ["", "tasks", "api/tasks", "api/workers?refresh=1", "broker", "task/x"])
@pytest.mark.parametrize("login", ["", "reelworks:wrong", "reelworks:"])
def test_flower_shows_nothing_without_its_login(running: Stack, path: str, login: str) -> None:
    """Also where FLOWER_UNAUTHENTICATED_API is set, which opens an API that has no login."""
    assert running.flower.ask(path, login=login) in ((401, "Access denied"), (401, ""))


@pytest.mark.parametrize("path", CHANGING)
def test_flower_changes_nothing_for_those_it_lets_in(running: Stack, path: str) -> None:
    status, text = running.flower.ask(path, "POST")
    assert (status, text) == (403, "Read only mode is enabled")


def _dump(client: redis.Redis, key: bytes) -> str:
    kind = client.type(key).decode()
    read: Any = {
        "string": client.get,
        "hash": client.hgetall,
        "list": lambda k: client.lrange(k, 0, -1),
        "set": client.smembers,
        "zset": lambda k: client.zrange(k, 0, -1, withscores=True),
        "stream": client.xrange,
        "none": lambda _: None,  # gone since it was listed: a queue that is empty now, a key that has expired
    }[kind]
    return repr(read(key))
