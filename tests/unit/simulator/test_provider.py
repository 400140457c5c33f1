"""The life of a task inside the process: what is on the bill before anyone can know, when it ends, and what ends it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image
from pytest_socket import disable_socket, enable_socket
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from ops.simulator import outputs
from ops.simulator.bill import key_alias, read_bill
from ops.simulator.exchange import Reply
from ops.simulator.films import Film, FilmSpec, RenderStopped
from ops.simulator.provider import Options, Provider
from ops.simulator.scenario import Scenario
from ops.simulator.tasks import Task, latency_s
from ops.simulator.validation import Picture

MODEL = "minimax_hailuo_02_i2v"
KEY = key_alias("sk-test")
SPEED = 10.0
SEED = 5


Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def run(no_sockets: None) -> Iterator[Run]:
    """Runs a story on an event loop, which wakes itself through a pair of sockets made before they are forbidden."""
    enable_socket()
    with asyncio.Runner() as runner:
        runner.get_loop()
        disable_socket()
        yield runner.run


class Disk:
    """Stands in for `os.fsync`: keeps what the bill held at each call for it, and makes that wait while it is held.

    Keeps the name of each other thing that was to stay, too.
    """

    def __init__(self, bill: Path) -> None:
        self._bill, self._free = bill, threading.Event()
        self._free.set()
        self.kept: list[bytes] = []
        self.others: list[str] = []

    def fsync(self, number: int) -> None:
        if not os.path.samestat(os.fstat(number), self._bill.stat()):
            self.others.append(Path(f"/proc/self/fd/{number}").readlink().name)
            return
        self.kept.append(self._bill.read_bytes())
        assert self._free.wait(timeout=10)

    def hold(self) -> None:
        self.kept.clear()
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def newest(self) -> dict[str, Any]:
        """The last line that was in the file when the disk was last asked to keep it."""
        return json.loads(self.kept[-1].splitlines()[-1])


async def turns() -> None:
    """Lets everything that is ready run."""
    for _ in range(50):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    ends_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends_at, "the condition did not come true"
        await asyncio.sleep(0)


class House:
    """A provider in this process, with films that are made at once (or not: see `breaks_with`)."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, rule: dict[str, Any]) -> None:
        self.bill = folder / "bill.jsonl"
        options = Options(bill=self.bill, data=folder, speed=SPEED, seed=SEED)
        self.provider = Provider(options, Scenario([rule]))
        self.disk = Disk(self.bill)
        self.breaks_with: BaseException | None = None
        self.orders = 0
        self.specs: list[FilmSpec] = []
        self._film = Film(folder / "film.mp4", folder / "film.jpg")
        self._film.video.write_bytes(os.urandom(outputs.PIECE_BYTES + 10))
        monkeypatch.setattr(os, "fsync", self.disk.fsync)
        monkeypatch.setattr(self.provider.films, "get", self._get)

    async def _get(self, spec: FilmSpec) -> Film:
        self.orders += 1
        self.specs.append(spec)
        if self.breaks_with is not None:
            raise self.breaks_with
        return self._film

    async def create(self) -> Task:
        picture = io.BytesIO()
        Image.new("RGB", (320, 320)).save(picture, "PNG")
        params = {"first_frame_image": "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()}
        return await self.order(MODEL, **params, resolution="512P")

    async def order(self, model: str, **params: object) -> Task:
        body = {"model": model, "input": [{"params": params}]}
        answer = await self.provider.create(KEY, json.dumps(body).encode(), "here:1")
        assert isinstance(answer, Reply)
        return self.provider.tasks[json.loads(answer.body)["id"]]

    def shown(self, task: Task) -> dict[str, Any]:
        return json.loads(self.provider.poll(task, "here:1").body)


@asynccontextmanager
async def house(folder: Path, monkeypatch: pytest.MonkeyPatch, **poll: object) -> AsyncIterator[House]:
    built = House(folder, monkeypatch, {"poll": {"latency_s": 0, **poll}})
    try:
        yield built
    finally:
        built.disk.release()
        await built.provider.close()


def test_a_create_is_answered_when_its_line_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    async def story() -> None:
        async with house(tmp_path, monkeypatch) as built:
            built.disk.hold()
            creating = asyncio.create_task(built.create())
            await until(lambda: built.disk.kept or creating.done())
            await turns()
            assert not creating.done()
            line = built.disk.newest()
            built.disk.release()
            task = await creating
            assert (line["kind"], line["task"], line["key"]) == ("create", task.id, KEY)

    run(story())


def test_a_record_is_on_disk_before_the_bill_has_the_create(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    async def story() -> None:
        async with house(tmp_path, monkeypatch, never=True) as built:
            built.disk.hold()
            creating = asyncio.create_task(built.create())
            await until(lambda: built.disk.kept)
            kept = list(built.disk.others)
            built.disk.release()
            task = await creating
            assert kept == [f"{task.id}.part", "tasks"]
            (record,) = (tmp_path / "tasks").iterdir()
            assert record.name == f"{task.id}.json"
            assert record.stat().st_mode & 0o777 == 0o600, "for its owner alone"

    run(story())


def test_a_priced_task_that_had_not_ended_ends_after_a_restart_without_another_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    async def story() -> None:
        async with house(tmp_path, monkeypatch, latency_s=36000) as built:
            left = await built.create()
            await built.provider.bill.price(left.id, Decimal("0.10"))
        async with house(tmp_path, monkeypatch) as again:
            monkeypatch.setattr(time, "time", lambda: left.created_s + 36000 / SPEED)
            again.provider.resume(read_bill(again.bill))
            task = again.provider.tasks[left.id]
            assert again.provider.access.open[KEY] == 1
            await until(task.ended.is_set)
            assert again.shown(task)["status"] == "completed"
            assert again.provider.access.open[KEY] == 0
            assert len(read_bill(again.bill).prices) == 1

    run(story())


def test_time_goes_on_while_the_process_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    async def story() -> None:
        async with house(tmp_path, monkeypatch, latency_s=36000) as built:
            left = await built.create()
        async with house(tmp_path, monkeypatch) as again:
            monkeypatch.setattr(time, "time", lambda: left.created_s + 36000 / SPEED / 2)
            again.provider.resume(read_bill(again.bill))
            task = again.provider.tasks[left.id]
            assert again.shown(task)["status"] == "in_progress"
            assert again.shown(task)["progress"] == pytest.approx(0.5, abs=0.01)

    run(story())


def test_a_task_shows_as_ended_when_its_price_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    async def story() -> None:
        async with house(tmp_path, monkeypatch) as built:
            task = await built.create()
            built.disk.hold()
            await until(lambda: built.disk.kept or task.ended.is_set())
            await turns()
            assert not task.ended.is_set()
            assert built.shown(task)["status"] == "in_progress"
            assert built.disk.newest() == {"kind": "price", "task": task.id, "cost_usd": "0.10"}
            built.disk.release()
            await until(task.ended.is_set)
            assert built.shown(task)["status"] == "completed"

    run(story())


class Wire(HTTP1Connection):
    """A connection that keeps what it is to send."""

    def __init__(self) -> None:
        self.context = None
        self.sent = b""
        self.finished = False

    def write_headers(self, start_line: Any, headers: Any, chunk: bytes | None = None) -> Any:
        return self.write(chunk or b"")

    def write(self, chunk: bytes) -> Any:
        self.sent += chunk
        written = asyncio.get_running_loop().create_future()
        written.set_result(None)
        return written

    def finish(self) -> None:
        self.finished = True


def test_the_last_piece_leaves_when_the_delivery_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    async def story() -> None:
        async with house(tmp_path, monkeypatch) as built:
            task = await built.create()
            await until(task.ended.is_set)
            url = built.shown(task)["output"][0]["content"][0]["url"]
            wire, whole = Wire(), (tmp_path / "film.mp4").read_bytes()
            built.disk.hold()
            asked = RequestStartLine("GET", url.removeprefix("http://here:1"), "HTTP/1.1")
            request = HTTPServerRequest(start_line=asked, headers=HTTPHeaders(Host="here:1"), connection=wire)
            serving = asyncio.create_task(outputs.serve(built.provider, request))
            await until(lambda: built.disk.kept or serving.done())
            await turns()
            assert wire.sent == whole[: outputs.PIECE_BYTES]
            assert built.disk.newest() == {"kind": "delivery", "task": task.id, "index": 0, "bytes": len(whole)}
            built.disk.release()
            await serving
            assert (wire.sent, wire.finished) == (whole, True)

    run(story())


def test_lines_that_come_while_the_disk_is_busy_are_kept_by_the_next_fsync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    async def story() -> None:
        async with house(tmp_path, monkeypatch, never=True) as built:
            built.disk.hold()
            creating = [asyncio.create_task(built.create())]
            await until(lambda: built.disk.kept)
            creating += [asyncio.create_task(built.create()) for _ in range(4)]
            await until(lambda: len(built.provider.bill._lines) == 4)
            assert not any(each.done() for each in creating)
            built.disk.release()
            made = await asyncio.gather(*creating)
            assert [kept.count(b"\n") for kept in built.disk.kept] == [1, 5]
            # Each once; which of creates that come together is written first is nobody's promise.
            assert sorted(line.task for line in read_bill(built.bill).creates) == sorted(task.id for task in made)

    run(story())


@pytest.mark.parametrize("scripted_s", [None, 300.0])
def test_a_task_ends_when_its_simulated_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, scripted_s: float | None
) -> None:
    takes_s = (scripted_s or latency_s(MODEL, "512P", 6, SEED, 1)) / SPEED

    async def story() -> None:
        clock = [1000.0]
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock[0])
        async with house(tmp_path, monkeypatch, latency_s=scripted_s) as built:
            task = await built.create()
            await until(lambda: built.orders)
            clock[0] += takes_s - 0.01
            await turns()
            assert built.shown(task)["status"] == "in_progress"
            clock[0] += 0.02
            await until(task.ended.is_set)
            assert built.shown(task)["status"] == "completed"

    run(story())


@pytest.mark.parametrize(
    "error",
    [
        TypeError("'>=' not supported"),
        struct.error("unpack requires a buffer"),
        KeyError(0),
        MemoryError(),
        OSError("broken data stream"),
        Image.DecompressionBombError("too many pixels"),
        av.error.InvalidDataError(1, "no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_goes_wrong_in_rendering_fails_the_task_and_frees_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, error: BaseException
) -> None:
    async def story() -> None:
        async with house(tmp_path, monkeypatch) as built:
            built.breaks_with = error
            task = await built.create()
            await until(task.ended.is_set)
            shown = built.shown(task)
            assert (shown["status"], shown["error"]["code"]) == ("failed", 10004095)
            assert built.provider.access.open[KEY] == 0
            assert built.provider.counts[f"not_made.{type(error).__name__}"] == 1
            assert read_bill(built.bill).prices == ()

    run(story())


def test_a_render_stopped_by_the_end_of_the_simulator_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    async def story() -> None:
        async with house(tmp_path, monkeypatch) as built:
            built.breaks_with = RenderStopped()
            task = await built.create()
            await until(lambda: built.orders and not built.provider._running)
            assert built.shown(task)["status"] == "in_progress"

    run(story())


@pytest.mark.parametrize(
    "poll",
    [{}, {"latency_s": 3600}, {"never": True}, {"outcome": "failed"}],
    ids=["ended", "rendered", "never", "failed"],
)
def test_pictures_are_let_go_of_once_no_film_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, poll: dict[str, object]
) -> None:
    async def story() -> None:
        async with house(tmp_path, monkeypatch, **poll) as built:
            task = await built.create()
            await until(lambda: task.order.first == Picture())
            assert task.order.last is None
            assert task.order.model == MODEL

    run(story())


def test_a_text_becomes_a_film_without_a_picture_over_a_restart_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    async def story() -> None:
        async with house(tmp_path, monkeypatch, latency_s=36000) as built:
            left = await built.order("minimax_hailuo_23_t2v", prompt="a cat [zoom in]")
        async with house(tmp_path, monkeypatch) as again:
            monkeypatch.setattr(time, "time", lambda: left.created_s + 36000 / SPEED)
            again.provider.resume(read_bill(again.bill))
            task = again.provider.tasks[left.id]
            await until(task.ended.is_set)
            assert again.shown(task)["status"] == "completed"
            assert again.specs == [FilmSpec(None, None, "[zoom in]", "768P", 6)]
            assert task.order.first is None
            assert read_bill(again.bill).usd_by_task == {task.id: Decimal("0.28")}

    run(story())
