"""The way of a job whose pictures and film are in an object store, and what its steps do while that is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
import sqlalchemy as sa
import structlog

from schemas import data_url, keys
from schemas.jobs import State
from tasks import context
from tasks.create import create
from tasks.domain.answers import Completed, RemoteOutput, Usage
from tasks.domain.finishing import expected_film
from tasks.finish import download, record
from tasks.ledger import tables
from tasks.ledger.jobs import get
from tasks.media.bucket import Bucket
from tasks.media.errors import StoreAway
from tasks.media.outputs import OutputFetcher
from tasks.media.s3store import S3Store
from tasks.outward import Reach
from tasks.transport import Deadlines
from tests.support.bench import MODEL, Bench
from tests.support.doors import Door, client, new_key
from tests.support.films import film
from tests.support.objects import KEY_ID, SECRET, TOKEN, ObjectStore, object_store
from tests.support.pictures import picture
from tests.support.works import works


class _Films(BaseHTTPRequestHandler):
    data: ClassVar[bytes]
    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(self.data)))
        self.end_headers()
        self.wfile.write(self.data)

    def log_message(self, *_: object) -> None:
        return


@dataclass(frozen=True)
class Films:
    """A server of one real film: its URL, its bytes, and what it was asked for."""

    url: str
    data: bytes
    asked: list[str]


@pytest.fixture
def films(tmp_path: Path) -> Iterator[Films]:
    data = film(tmp_path / "film.mp4", 1366, 768, seconds=6.0).read_bytes()
    handler = type("Films", (_Films,), {"data": data, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Films(f"http://127.0.0.1:{server.server_address[1]}/0.mp4", data, handler.asked)
        server.shutdown()
        thread.join()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An object store of this test's own, to be ended."""
    with object_store(tmp_path) as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


@dataclass(frozen=True)
class Place:
    """The bench with its store in a bucket, and the server that has it."""

    bench: Bench
    store: S3Store
    bucket: Bucket
    server: ObjectStore

    def to_download(self, films: Films) -> str:
        job_id = self.bench.generating()
        usage = Usage(Decimal("0.28"), raw={"cost": "0.28"})
        self.bench.provider.polls.append(Completed((RemoteOutput("video", films.url),), usage))
        self.bench.look()
        assert self.bench.state(job_id) is State.DOWNLOADING
        return job_id

    def come_back(self) -> None:
        """With an empty bucket: what the server had went with it."""
        self.server.start()
        self.server.make(self.bucket)


@pytest.fixture
def place(bench: Bench, server: ObjectStore, tmp_path: Path) -> Iterator[Place]:
    bucket = server.new_bucket()
    store = S3Store(bucket, tmp_path / "parts", request_s=1.0)
    reach = Reach(private=frozenset({"127.0.0.1"}))
    with closing(OutputFetcher(store, 10_000_000, Deadlines(5, 5, 30), reach)) as fetcher:
        ctx = replace(bench.ctx, store=store, fetcher=fetcher)
        context.install(lambda: ctx)
        yield Place(replace(bench, ctx=ctx), store, bucket, server)


def row(bench: Bench, job_id: str) -> Any:
    with bench.ctx.ledger.read() as tx:
        return tx.execute(sa.select(tables.jobs).where(tables.jobs.c.id == job_id)).one()


def test_picture_and_film_are_in_the_bucket_and_the_film_is_handed_out(place: Place, films: Films) -> None:
    bench = place.bench
    door = Door(client(), new_key(bench.ctx.ledger))
    job_id = door.post("/v1/jobs", {"model": MODEL, "first_frame_image": data_url(picture())}).get_json()["id"]
    sha256, _, extension = row(bench, job_id).request["first_frame_image"].removeprefix("input:").partition(".")
    assert place.store.get_input(sha256, extension.partition(":")[0]) == picture()
    bench.turn("admit")
    create(job_id)
    assert bench.provider.created[0]["input"][0]["params"]["first_frame_image"] == data_url(picture())
    bench.provider.polls.append(Completed((RemoteOutput("video", films.url),), Usage(Decimal("0.28"))))
    bench.look()
    download(job_id)
    record(job_id)
    assert bench.state(job_id) is State.COMPLETED
    job = door.get(f"/v1/jobs/{job_id}").get_json()
    with place.store.open(row_of_output(bench).path) as file:
        assert file.read() == films.data
    answer = door.get(job["outputs"][0]["url"])
    assert (answer.status_code, answer.data, answer.headers["Cache-Control"]) == (307, b"", "no-store")
    with requests.Session() as session:
        url = answer.headers["Location"]
        whole = session.get(url, timeout=10)
        assert (whole.content, whole.headers["Content-Type"]) == (films.data, "video/mp4")
        some = session.get(url, headers={"Range": "bytes=100-199"}, timeout=10)
        assert (some.status_code, some.content) == (206, films.data[100:200])
        head = door.ask("HEAD", job["outputs"][0]["url"])
        size = session.head(head.headers["Location"], timeout=10).headers["Content-Length"]
        assert (head.status_code, size) == (307, str(len(films.data)))


def row_of_output(bench: Bench) -> Any:
    (output,) = bench.rows(tables.outputs)
    return output


def test_film_that_is_kept_no_more_is_not_found_and_one_whose_store_is_away_may_be_later(
    place: Place, films: Films
) -> None:
    job_id = place.to_download(films)
    download(job_id)
    record(job_id)
    door = Door(client(), new_key(place.bench.ctx.ledger, "default"))
    place.server.stop()
    away = door.get(f"/v1/jobs/{job_id}/outputs/0")
    assert (away.status_code, away.get_json()["code"]) == (503, "unavailable")
    place.come_back()
    gone = door.get(f"/v1/jobs/{job_id}/outputs/0")
    assert (gone.status_code, gone.get_json()["code"]) == (404, "not_found")


def test_film_that_was_uploaded_and_not_written_down_is_found_by_the_next_try(place: Place, films: Films) -> None:
    bench, job_id = place.bench, place.to_download(films)
    with bench.ctx.ledger.read() as tx:
        job = get(tx, job_id)
    assert job is not None
    remote = RemoteOutput("video", films.url)
    bench.ctx.fetcher.keep(remote, f"default/{job_id}/0", 0, expected_film(job.request))  # then its worker died
    download(job_id)
    assert bench.state(job_id) is State.RECORDING
    assert row_of_output(bench).size_bytes == len(films.data)
    with place.store.open(row_of_output(bench).path) as file:
        assert file.read() == films.data


def test_a_store_that_is_away_is_no_fault_of_a_download(place: Place, films: Films) -> None:
    bench, job_id = place.bench, place.to_download(films)
    place.server.stop()
    with structlog.testing.capture_logs() as logs:
        for _ in range(bench.ctx.policy.download_tries + 1):
            download(job_id)
            bench.lapse()
    assert (bench.state(job_id), row(bench, job_id).tries, row(bench, job_id).deaths) == (State.DOWNLOADING, 0, 0)
    assert films.asked == [], "what can't be kept is not fetched"
    assert {(each["event"], each["job_id"]) for each in logs} == {("store_away", job_id)}
    assert not any(secret in str(logs) for secret in (KEY_ID, SECRET, TOKEN))
    place.come_back()
    download(job_id)
    assert bench.state(job_id) is State.RECORDING


def test_a_store_that_goes_while_a_film_is_fetched_is_no_fault_of_it_either(
    place: Place, films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, job_id = place.bench, place.to_download(films)
    commit = S3Store.commit

    def away(store: S3Store, part: Path, relative: str) -> None:
        place.server.stop()
        commit(store, part, relative)

    monkeypatch.setattr(S3Store, "commit", away)
    download(job_id)
    monkeypatch.undo()
    assert (bench.state(job_id), row(bench, job_id).tries, len(films.asked)) == (State.DOWNLOADING, 0, 1)
    assert list(place.store._parts.folder.iterdir()) == []


def test_requests_wait_in_the_stream_for_a_store_that_is_away(place: Place) -> None:
    bench = place.bench
    place.server.stop()
    with pytest.raises(StoreAway):
        bench.submit(first_frame_image=data_url(picture()))
    assert bench.ctx.pulse.redis.xlen(keys.REQUESTS) == 1
    assert bench.rows(tables.jobs) == []
    place.come_back()
    bench.turn("accept")
    (job,) = bench.rows(tables.jobs)
    assert (job.state, bench.ctx.pulse.redis.xlen(keys.REQUESTS)) == (State.QUEUED, 0)
    assert bench.rows(tables.rejected) == []


def test_callers_of_the_gateway_are_told_to_come_back(place: Place) -> None:
    door = Door(client(), new_key(place.bench.ctx.ledger))
    body = {"model": MODEL, "first_frame_image": data_url(picture()), "idempotency_key": "once"}
    place.server.stop()
    answer = door.post("/v1/jobs", body)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
    assert place.bench.rows(tables.jobs) == []
    place.come_back()
    assert door.post("/v1/jobs", body).status_code == 202


def test_a_create_waits_for_the_picture_and_sends_nothing_without(place: Place) -> None:
    bench = place.bench
    job_id = bench.admitted(first_frame_image=data_url(picture()))
    place.server.freeze()
    for _ in range(bench.ctx.policy.deaths_most + 1):
        create(job_id)
        bench.lapse()
    place.server.thaw()
    assert (bench.state(job_id), row(bench, job_id).tries, row(bench, job_id).deaths) == (State.ADMITTED, 0, 0)
    assert bench.provider.created == []
    create(job_id)
    assert bench.state(job_id) is State.GENERATING


def test_a_bucket_that_is_not_there_fails_no_job(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = place.bench
    job_id = bench.admitted(first_frame_image=data_url(picture()))
    place.server.stop()
    place.server.start()  # and nobody has made the bucket
    create(job_id)
    assert (bench.state(job_id), row(bench, job_id).tries) == (State.ADMITTED, 0)


@pytest.mark.timeout(300)
def test_real_workers_keep_pictures_and_films_in_a_bucket(objects: ObjectStore, tmp_path: Path) -> None:
    """Above all that of the prefork pool: the library's threads do not live through a fork."""
    bucket = objects.new_bucket()
    with works(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as running:
        running.crew.start(**objects.environment(), REELWORKS_STORE=bucket)
        jobs = running.submit(4)
        running.wait(jobs, State.COMPLETED)
        store = S3Store(bucket, tmp_path / "looking")
        for job in jobs:
            (output,) = running.rows(tables.outputs, job.id)
            with store.open(output.path) as file:
                assert len(file.read()) == output.size_bytes
        running.check_books()
        told = running.crew.texts() + "".join(str(running.row(job.id)) for job in jobs)
        assert not any(secret in told for secret in (SECRET, TOKEN))
        assert not (tmp_path / "store").exists()
