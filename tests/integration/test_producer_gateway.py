"""What the producer asks of the HTTP gateway: lists of jobs, and films. With a real gateway, and with servers that
misbehave on the socket.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas import saving
from schemas.errors import (
    GatewayAway,
    GatewayRefused,
    JobCancelled,
    JobFailed,
    NotSaved,
    ReelworksError,
    RequestInvalid,
)
from schemas.exchange import Deadlines
from schemas.gateway import PAGE
from schemas.jobs import Output, State
from schemas.producer import Producer
from tasks import context, operating
from tasks.create import create
from tasks.domain.answers import Completed, RemoteOutput, Usage
from tasks.domain.api_keys import Scope
from tasks.finish import download, record
from tasks.media.outputs import OutputFetcher
from tasks.media.s3store import S3Store
from tasks.media.store import Store
from tests.support.bench import MODEL, Bench
from tests.support.doors import listening, new_key
from tests.support.objects import ObjectStore
from tests.support.proxy import Fault, FaultProxy
from tests.support.raw import HANGING, RawServer, answer, read_request
from tests.support.situations import failed_download, uncertain
from workers.limits import GatewayLimits

SECOND = RemoteOutput("image", "https://films.example/1.jpg")
FIRST = RemoteOutput("video", "https://films.example/0.mp4")
FILM = os.urandom(2_000_000)
COVER = os.urandom(5_000)
KEY = "rw_0123456789ab_a-canary-that-no-other-server-hears-of-abcd"


@pytest.fixture
def port(bench: Bench) -> Iterator[int]:
    with listening(GatewayLimits(requests_per_minute=1e6)) as made:
        yield made


@pytest.fixture
def key(bench: Bench) -> str:
    return new_key(bench.ctx.ledger, "default", tuple(Scope))


@pytest.fixture
def producer(redis_url: str, port: int, key: str) -> Iterator[Producer]:
    with producer_at(redis_url, f"http://127.0.0.1:{port}", key) as made:
        yield made


def producer_at(redis_url: str, url: str, key: str = KEY, deadlines: Deadlines | None = None) -> Producer:
    return Producer(redis_url, gateway_url=url, api_key=key, gateway_deadlines=deadlines)


@pytest.fixture
def films(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    """Outputs are in the store at once."""

    def keep(self: OutputFetcher, remote: RemoteOutput, name: str, index: int, _expected: Any) -> Output:
        data, suffix = (FILM, "mp4") if remote.type == "video" else (COVER, "jpg")
        store: Store = self._store
        part = store.part(f"{name}.part")
        part.write_bytes(data)
        store.commit(part, f"{name}.{suffix}")
        return Output(
            index, remote.type, f"{name}.{suffix}", len(data), hashlib.sha256(data).hexdigest(), 1366, 768, 6.0
        )

    monkeypatch.setattr(OutputFetcher, "keep", keep)


def made(bench: Bench, *outputs: RemoteOutput) -> str:
    """A completed job with these outputs."""
    job_id = bench.admitted()
    create(job_id)
    bench.provider.polls.append(Completed(outputs or (FIRST,), Usage(Decimal("0.28"), raw={"cost": "0.28"})))
    bench.look()
    download(job_id)
    record(job_id)
    assert bench.state(job_id) is State.COMPLETED
    return job_id


# --- lists ----------------------------------------------------------------------------------------------------------


def test_lists_give_all_jobs_page_by_page(
    bench: Bench, producer: Producer, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schemas.gateway.PAGE", 3)
    ids = [bench.submit() for _ in range(7)]
    assert [view.job_id for view in producer.list()] == ids[::-1]
    assert [view.job_id for view in producer.list(limit=4)] == ids[:2:-1]
    assert [view.job_id for view in producer.list(limit=3)] == ids[:3:-1]
    assert list(producer.list(limit=0)) == []
    first = next(producer.list())
    assert (first.state, first.model, first.tenant, first.events[0].event) == (State.QUEUED, MODEL, "default", "accept")


def test_a_page_is_no_larger_than_the_gateway_gives(bench: Bench, producer: Producer) -> None:
    bench.submit()
    assert PAGE == 200
    assert len(list(producer.list())) == 1


def test_lists_are_by_state_and_batch(bench: Bench, producer: Producer, films: None) -> None:
    done, lost, gone, waiting = made(bench), failed(bench), cancelled(bench), bench.submit()
    assert [view.job_id for view in producer.list(state="completed")] == [done]
    assert [view.job_id for view in producer.list(state=State.CANCELLED)] == [gone]
    assert {view.job_id for view in producer.list(state=("failed", State.QUEUED))} == {lost, waiting}
    assert list(producer.list(batch_id="no-such-batch")) == []
    (completed,) = producer.list(state="completed")
    assert completed.charged_usd == Decimal("0.28")
    assert replace(completed.outputs[0], path="film") == Output(
        0, "video", "film", len(FILM), hashlib.sha256(FILM).hexdigest(), 1366, 768, 6.0
    )
    (view,) = producer.list(state="failed")
    assert view.error_code
    assert view.error_stage
    with pytest.raises(ValueError, match="asleep"):
        next(producer.list(state="asleep"))


def failed(bench: Bench) -> str:
    job_id = uncertain(bench)
    operating.write_off(bench.ctx, job_id, None)
    assert bench.state(job_id) is State.FAILED
    return job_id


def cancelled(bench: Bench) -> str:
    job_id = bench.submit()
    operating.cancel(bench.ctx, job_id)
    return job_id


def test_another_tenants_jobs_are_not_listed(bench: Bench, redis_url: str, port: int) -> None:
    bench.submit()
    with producer_at(redis_url, f"http://127.0.0.1:{port}", new_key(bench.ctx.ledger, "other")) as other:
        assert list(other.list()) == []


# --- settings and refusals ------------------------------------------------------------------------------------------


def test_without_an_address_or_a_key_it_is_said_what_to_set(redis_url: str, tmp_path: Path) -> None:
    with Producer(redis_url) as none, Producer(redis_url, gateway_url="http://127.0.0.1:1") as keyless:
        for ask in (lambda p: next(p.list()), lambda p: p.handle("job-1").save(tmp_path)):
            with pytest.raises(GatewayRefused, match="REELWORKS_GATEWAY_URL"):
                ask(none)
            with pytest.raises(GatewayRefused, match="REELWORKS_API_KEY"):
                ask(keyless)


def test_addresses_and_key_are_found_in_the_environment(
    bench: Bench, redis_url: str, port: int, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.submit()
    monkeypatch.setenv("REELWORKS_REDIS_URL", redis_url)
    monkeypatch.setenv("REELWORKS_GATEWAY_URL", f"http://127.0.0.1:{port}/")
    monkeypatch.setenv("REELWORKS_API_KEY", f"{key}\n")
    with Producer() as found:
        assert [view.job_id for view in found.list()] == [job_id]
        assert found.handle(job_id).state is State.QUEUED
    monkeypatch.delenv("REELWORKS_REDIS_URL")
    with pytest.raises(ValueError, match="REELWORKS_REDIS_URL"):
        Producer()


@pytest.mark.parametrize(
    "wrong",
    [
        {"gateway_url": "ftp://canary.example"},
        {"gateway_url": "canary.example"},
        {"gateway_url": "http://canary.example:port"},
        {"gateway_url": "http://canary.example/?a=1"},
        {"gateway_url": "http://"},
        {"api_key": "rw_canary\nX-Header: 1"},
        {"api_key": "rw canary"},
        {"api_key": "rw_canary\u00e4"},
    ],
    ids=str,
)
def test_an_address_or_key_that_is_none_is_refused_unseen(redis_url: str, wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))) as caught:
        Producer(redis_url, **wrong)  # type: ignore[arg-type]
    assert "canary" not in str(caught.value)


def test_problems_come_as_our_errors(bench: Bench, redis_url: str, port: int, tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{port}"
    submits = new_key(bench.ctx.ledger, "default", (Scope.SUBMIT,))
    for url, given, code, status in (
        (base, KEY, "unauthorized", 401),
        (base, submits, "forbidden", 403),
        (f"{base}/elsewhere", submits, "not_found", 404),
    ):
        with producer_at(redis_url, url, given) as refused, pytest.raises(GatewayRefused) as caught:
            next(refused.list())
        assert (caught.value.code, caught.value.status) == (code, status)
        assert given not in str(caught.value)
    with (
        producer_at(redis_url, base, new_key(bench.ctx.ledger, "default")) as other,
        pytest.raises(GatewayRefused) as caught,
    ):
        other.handle("no-such-job").save(tmp_path)
    assert caught.value.code == "not_found"


PROBLEM = "Content-Type: application/problem+json\r\n"
REFUSALS: list[tuple[bytes, type[ReelworksError], str]] = [
    (answer({"code": "unavailable"}, "503 X", PROBLEM + "Retry-After: 7\r\n"), GatewayAway, "unavailable"),
    (answer({"code": "too_many_requests", "detail": "slowly"}, "429 X", PROBLEM), GatewayAway, "slowly"),
    (
        answer({"code": "request_invalid", "errors": [{"field": "cursor", "code": "x"}]}, "422 X", PROBLEM),
        RequestInvalid,
        "cursor",
    ),
    (answer("<p>canary</p>", "502 Bad Gateway"), GatewayAway, "http_502"),
    (answer("<p>canary</p>", "400 Bad Request"), GatewayRefused, "http_400"),
    (answer([], "400 Bad Request", PROBLEM), GatewayRefused, "http_400"),
    (answer("{", "400 Bad Request", PROBLEM), GatewayRefused, "http_400"),
    (answer(b"<p>canary</p>"), GatewayRefused, "no gateway"),
    (answer([]), GatewayRefused, "no gateway"),
    (answer({"jobs": {}}), GatewayRefused, "no gateway"),
    (answer({"jobs": [], "next_cursor": 7}), GatewayRefused, "no gateway"),
    (answer(b"", "307 X", "Location: http://127.0.0.1:1/canary\r\n"), GatewayRefused, "redirects"),
    (answer({"jobs": []})[:-3], GatewayAway, "broke off"),
    (b"\x00\x01 no http\r\n\r\n", GatewayAway, "BadStatusLine"),
    (b"", GatewayAway, "RemoteDisconnected"),
]


@pytest.mark.parametrize(("sent", "kind", "says"), REFUSALS, ids=[f"{i}-{r[2]}" for i, r in enumerate(REFUSALS)])
def test_whatever_answers_is_one_of_our_errors(
    redis_url: str, sent: bytes, kind: type[ReelworksError], says: str
) -> None:
    def handle(connection: Any, _server: RawServer) -> None:
        read_request(connection)
        connection.sendall(sent)

    with RawServer(handle) as server, producer_at(redis_url, server.url) as asking, pytest.raises(kind) as caught:
        next(asking.list())
    assert says in str(caught.value)
    assert "canary" not in str(caught.value)
    if isinstance(caught.value, GatewayAway) and says == "unavailable":
        assert caught.value.retry_after_s == 7.0


@pytest.mark.timeout(30)  # those servers say something now and then for much longer
@pytest.mark.parametrize("handle", HANGING, ids=lambda handle: handle.__name__)
def test_a_gateway_that_drips_is_given_up(redis_url: str, handle: Any) -> None:
    with (
        RawServer(handle) as server,
        producer_at(redis_url, server.url, deadlines=Deadlines(1.0, 1.0, 2.0)) as asking,
        pytest.raises(GatewayAway),
    ):
        next(asking.list())


# --- save -----------------------------------------------------------------------------------------------------------


def test_a_film_is_saved_under_its_name_in_a_folder(
    bench: Bench, producer: Producer, films: None, tmp_path: Path
) -> None:
    job_id = made(bench)
    folder = tmp_path / "films"
    folder.mkdir()
    assert producer.handle(job_id).save(folder) == (folder / f"{job_id}-0.mp4",)
    assert [path.name for path in folder.iterdir()] == [f"{job_id}-0.mp4"]
    assert (folder / f"{job_id}-0.mp4").read_bytes() == FILM
    (path,) = producer.handle(job_id).save(f"{tmp_path}/a/new/one/")
    assert path == tmp_path / "a" / "new" / "one" / f"{job_id}-0.mp4"


def test_several_outputs_stand_beside_each_other(bench: Bench, producer: Producer, films: None, tmp_path: Path) -> None:
    job_id = made(bench, FIRST, SECOND)
    paths = producer.handle(job_id).save(tmp_path / "cat.mp4")
    assert [path.name for path in paths] == ["cat.mp4", "cat-1.jpg"]
    assert [path.read_bytes() for path in paths] == [FILM, COVER]
    folder = tmp_path / "films"
    folder.mkdir()
    assert [path.name for path in producer.handle(job_id).save(folder)] == [f"{job_id}-0.mp4", f"{job_id}-1.jpg"]


def test_what_was_there_is_replaced_and_readable_as_any_new_file(
    bench: Bench, producer: Producer, films: None, tmp_path: Path
) -> None:
    there = tmp_path / "film.mp4"
    there.write_bytes(b"old")
    beside = tmp_path / "beside"
    beside.write_bytes(b"")
    assert producer.handle(made(bench)).save(str(there)) == (there,)
    assert there.read_bytes() == FILM
    assert there.stat().st_mode == beside.stat().st_mode


def test_a_job_without_a_film_is_told_by_its_own_error(bench: Bench, producer: Producer, tmp_path: Path) -> None:
    waiting = bench.submit()
    with pytest.raises(NotSaved, match="queued"):
        producer.handle(waiting).save(tmp_path / "film.mp4")
    with pytest.raises(JobCancelled):
        producer.handle(cancelled(bench)).save(tmp_path / "film.mp4")
    with pytest.raises(JobFailed) as caught:
        producer.handle(failed_download(bench)).save(tmp_path / "film.mp4")
    assert caught.value.code
    assert not (tmp_path / "film.mp4").exists()


def test_a_transfer_that_breaks_off_is_taken_up_where_it_ended(
    bench: Bench, redis_url: str, port: int, key: str, films: None, tmp_path: Path
) -> None:
    job_id = made(bench)
    with (
        FaultProxy(port, Fault(cut_after_bytes=1_200_000, direction="to_client")) as proxy,
        producer_at(redis_url, f"http://127.0.0.1:{proxy.port}", key) as cut,
    ):
        (path,) = cut.handle(job_id).save(tmp_path / "film.mp4")
        # Begun anew each time, it would never have come to its end.
        assert proxy.cuts >= 1
    assert path.read_bytes() == FILM


def test_one_that_breaks_off_again_and_again_is_given_up_and_leaves_nothing(
    bench: Bench, redis_url: str, port: int, key: str, films: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "PAUSE_S", 0.01)
    job_id = made(bench)
    folder = tmp_path / "films"
    folder.mkdir()
    with (
        FaultProxy(port, Fault(cut_after_bytes=100_000, direction="to_client")) as proxy,
        producer_at(redis_url, f"http://127.0.0.1:{proxy.port}", key) as cut,
        pytest.raises(GatewayAway),
    ):
        cut.handle(job_id).save(folder)
    assert proxy.connections == 1 + saving.TRIES  # the first asks for the job
    assert list(folder.iterdir()) == []


def test_a_film_in_an_object_store_is_saved_from_there(
    bench: Bench, producer: Producer, s3_store: S3Store, films: None, objects: ObjectStore, tmp_path: Path
) -> None:
    fetcher = OutputFetcher(s3_store, 10_000_000, bench.ctx.fetcher._within)
    ctx = replace(bench.ctx, store=s3_store, fetcher=fetcher)
    context.install(lambda: ctx)
    job_id = made(replace(bench, ctx=ctx))
    folder = tmp_path / "films"
    folder.mkdir()
    assert producer.handle(job_id).save(folder) == (folder / f"{job_id}-0.mp4",)
    assert (folder / f"{job_id}-0.mp4").read_bytes() == FILM
    fetcher.close()


class Both:
    """An HTTP server on the socket that stands for gateway and object store both, and notes what it was sent."""

    def __init__(self, film: bytes, sent: list[bytes], **said: Any) -> None:
        self.film, self.sent, self.said, self.heads = film, sent, said, []

    def handle(self, connection: Any, server: RawServer) -> None:
        head, _ = read_request(connection)
        self.heads.append(head)
        if b"/outputs/" in head:
            place = self.said.get("place", "/store/film?signature=canary")
            connection.sendall(answer(b"", "307 X", f"Location: {place}\r\n"))
        elif b"/store/" in head:
            connection.sendall(self.sent.pop(0) if self.sent else b"")
        else:
            connection.sendall(answer(self.job()))

    def job(self) -> dict[str, Any]:
        output = {"index": 0, "type": "video", "size_bytes": len(self.film)}
        output["sha256"] = hashlib.sha256(self.film).hexdigest()
        return {"id": "job-1", "state": "completed", "error": None, "outputs": [output], "events": []}


def part_of(start: int, film: bytes = FILM[:1000]) -> bytes:
    return answer(film[start:], "206 X", f"Content-Range: bytes {start}-{len(film) - 1}/{len(film)}\r\n")


def test_the_key_goes_to_the_gateway_alone(redis_url: str, tmp_path: Path) -> None:
    film = FILM[:1000]
    whole = answer(film, headers='Content-Disposition: inline; filename="../../film.mp4"\r\n')
    both = Both(film, [whole[:-400], part_of(600)])
    with RawServer(both.handle) as server, producer_at(redis_url, server.url) as asking:
        (path,) = asking.handle("job-1").save(f"{tmp_path}/films/")
        assert path.read_bytes() == film
    for head in both.heads:
        assert (KEY.encode() in head) == (b"/store/" not in head)
        assert (b"Authorization" in head) == (b"/store/" not in head)
    assert [re.findall(rb"Range: (.*)\r", head) for head in both.heads if b"/store/" in head] == [[], [b"bytes=600-"]]


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ([answer(FILM[1:1001])], "SHA-256"),
        ([answer(FILM[:1001])], "larger"),
        ([answer(FILM[:1000])[:-400], part_of(500)], "other bytes"),
        ([answer(FILM[:1000])[:-400], answer(FILM[600:1000], "206 X")], "other bytes"),
    ],
    ids=["other bytes", "too many", "an overlap", "without a range"],
)
def test_what_is_not_the_film_that_was_stored_is_not_put_in_place(
    redis_url: str, sent: list[bytes], says: str, tmp_path: Path
) -> None:
    both = Both(FILM[:1000], list(sent))
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "film.mp4").write_bytes(b"old")
    with (
        RawServer(both.handle) as server,
        producer_at(redis_url, server.url) as asking,
        pytest.raises(NotSaved, match=says),
    ):
        asking.handle("job-1").save(folder / "film.mp4")
    assert [path.read_bytes() for path in folder.iterdir()] == [b"old"]


def test_a_store_that_begins_anew_is_begun_anew_with(redis_url: str, tmp_path: Path) -> None:
    film = FILM[:1000]
    both = Both(film, [answer(film)[:-400], answer(film)])
    with RawServer(both.handle) as server, producer_at(redis_url, server.url) as asking:
        (path,) = asking.handle("job-1").save(tmp_path / "film.mp4")
    assert path.read_bytes() == film


@pytest.mark.parametrize("place", ["", "ftp://canary.example/film", "file:///canary", "http://[canary/"])
def test_a_redirect_to_what_is_no_address_is_refused(redis_url: str, place: str, tmp_path: Path) -> None:
    both = Both(FILM[:1000], [], place=place)
    with (
        RawServer(both.handle) as server,
        producer_at(redis_url, server.url) as asking,
        pytest.raises(GatewayRefused) as caught,
    ):
        asking.handle("job-1").save(tmp_path / "film.mp4")
    assert caught.value.code == "bad_redirect"
    assert "canary" not in str(caught.value)


def test_a_store_that_refuses_says_nothing_of_its_address(redis_url: str, tmp_path: Path) -> None:
    both = Both(FILM[:1000], [answer("canary", "403 Forbidden")])
    with (
        RawServer(both.handle) as server,
        producer_at(redis_url, server.url) as asking,
        pytest.raises(GatewayAway, match="403") as caught,
    ):
        asking.handle("job-1").save(tmp_path / "film.mp4")
    assert "canary" not in str(caught.value)


@pytest.mark.timeout(30)
def test_a_save_that_is_taken_up_again_ends_within_its_time(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "PAUSE_S", 300.0)
    both = Both(FILM[:1000], [answer(FILM[:1000])[:-400]])
    with (
        RawServer(both.handle) as server,
        producer_at(redis_url, server.url) as asking,
        pytest.raises(GatewayAway),
    ):
        asking.handle("job-1").save(tmp_path / "film.mp4", timeout=2.0)
    assert list(tmp_path.glob("*.part")) == []
