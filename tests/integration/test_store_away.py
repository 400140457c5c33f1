"""An object store that is away, refuses, or lies, and workers that die over it: nothing is lost, nor told."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest

from tasks.media import s3store
from tasks.media.bucket import Bucket
from tasks.media.errors import StoreAway
from tasks.media.s3store import S3Store
from tests.support.gate import Gate
from tests.support.objects import KEY_ID, SECRET, TOKEN, ObjectStore, object_store
from tests.support.raw import RawServer, answer, read_request
from tests.support.waiting import wait_until
from workers.stackplan import ROOT

PATH = "default/0b9c2d1e-1111-4222-8333-444455556666/0.mp4"
DATA = b"some bytes"
SHA = hashlib.sha256(DATA).hexdigest()
LARGE = bytes(range(256)) * 80_000

CHILD = """
import sys
from pathlib import Path
from tasks.media.bucket import Bucket
from tasks.media.s3store import S3Store
store = S3Store(Bucket.parse(sys.argv[1]), Path(sys.argv[2]))
part = store.part(sys.argv[3])
part.write_bytes(Path(sys.argv[4]).read_bytes())
print("written", flush=True)
store.commit(part, sys.argv[3])
"""


def _commit(store: S3Store) -> None:
    part = store._parts.new("job-0")
    part.write_bytes(DATA)
    store.commit(part, PATH)


USES: dict[str, Callable[[S3Store], Any]] = {
    "part": lambda store: store.part(PATH),
    "commit": _commit,
    "open": lambda store: store.open(PATH),
    "exists": lambda store: store.exists(PATH),
    "handed_out": lambda store: store.handed_out(PATH),
    "put_input": lambda store: store.put_input(SHA, DATA, "png"),
    "get_input": lambda store: store.get_input(SHA, "png"),
    "try_out": lambda store: store.try_out(),
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An object store of this test's own, to be ended."""
    with object_store(tmp_path) as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


def _read(store: S3Store) -> bytes:
    with store.open(PATH) as file:
        return file.read()


def refused(store: S3Store, use: str) -> str:
    """What the store says; nothing that is secret may stand anywhere in the error."""
    with pytest.raises(StoreAway) as caught:
        USES[use](store)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    for secret in (KEY_ID, SECRET, TOKEN, "Signature="):
        assert secret not in told
    assert caught.value.__context__ is None
    return str(caught.value)


class Worker:
    """A process that commits `data` as an output, and may die of it."""

    def __init__(self, folder: Path, bucket: Bucket, data: bytes, **more_env: str) -> None:
        self._data = folder / "data"
        self._data.write_bytes(data)
        argv = [sys.executable, "-c", CHILD, str(bucket), str(folder / "parts"), PATH, str(self._data)]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in more_env.items():
                patch.setenv(name, value)
            self.process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)

    def ended(self) -> int:
        with self.process:
            return self.process.wait(30)


class TestDeaths:
    def test_before_the_upload_nothing_is_seen_and_the_part_is_swept(self, s3_store: S3Store, tmp_path: Path) -> None:
        died = Worker(tmp_path, s3_store.bucket, DATA, REELWORKS_FAILPOINT="output.before_rename")
        assert died.ended() == -signal.SIGKILL
        assert not s3_store.exists(PATH)
        (left,) = s3_store._parts.folder.iterdir()
        assert left.read_bytes() == DATA
        assert Worker(tmp_path, s3_store.bucket, DATA).ended() == 0
        assert _read(s3_store) == DATA

    def test_in_the_middle_of_the_upload_nothing_is_seen(
        self, objects: ObjectStore, s3_store: S3Store, tmp_path: Path
    ) -> None:
        gate = Gate(objects.port)
        gate.shut(b"PUT ")  # of the pieces
        died = Worker(tmp_path, s3_store.bucket, LARGE, AWS_ENDPOINT_URL=gate.url)
        wait_until(lambda: gate.held, what="a piece at the object store")
        died.process.kill()
        died.ended()
        gate.close()
        assert not s3_store.exists(PATH)
        assert Worker(tmp_path, s3_store.bucket, LARGE).ended() == 0
        assert _read(s3_store) == LARGE

    def test_before_it_heard_of_its_end_the_film_is_there_and_is_found_there(
        self, objects: ObjectStore, s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate = Gate(objects.port)
        gate.shut(b"PUT ")  # of the whole film, in one
        died = Worker(tmp_path, s3_store.bucket, DATA, AWS_ENDPOINT_URL=gate.url)
        wait_until(lambda: gate.held, what="the film at the object store")
        died.process.kill()
        died.ended()
        gate.close()
        assert _read(s3_store) == DATA
        monkeypatch.setattr(obstore, "put", None)  # nothing is uploaded a second time
        _commit(s3_store)

    def test_after_the_upload_the_film_is_there(self, s3_store: S3Store, tmp_path: Path) -> None:
        died = Worker(tmp_path, s3_store.bucket, DATA, REELWORKS_FAILPOINT="output.after_rename")
        assert died.ended() == -signal.SIGKILL
        assert _read(s3_store) == DATA
        assert Worker(tmp_path, s3_store.bucket, DATA).ended() == 0
        assert _read(s3_store) == DATA

    def test_part_of_a_dead_worker_is_removed_by_the_next_one_of_its_machine(
        self, s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left = s3_store.part(PATH)
        left.write_bytes(DATA)
        s3_store.part(PATH)
        assert left.exists()
        monkeypatch.setattr(s3store, "_PART_LEFT_S", -60.0)
        s3_store.part(PATH)
        assert not left.exists()


class TestAway:
    @pytest.mark.parametrize("use", USES)
    def test_one_that_was_never_there_is_away(self, server: ObjectStore, tmp_path: Path, use: str) -> None:
        server.stop()
        assert "does not answer" in refused(S3Store(Bucket("films"), tmp_path / "parts"), use)

    def test_it_is_found_again(self, server: ObjectStore, tmp_path: Path) -> None:
        store = S3Store(bucket := server.new_bucket(), tmp_path / "parts")
        _commit(store)
        server.stop()
        refused(store, "exists")
        server.start()
        server.make(bucket)
        _commit(store)
        assert _read(store) == DATA

    def test_one_that_stands_still_holds_nobody_for_long(self, server: ObjectStore, tmp_path: Path) -> None:
        store = S3Store(server.new_bucket(), tmp_path / "parts", request_s=0.5)
        _commit(store)
        server.freeze()
        assert "does not answer" in refused(store, "exists")
        server.thaw()
        assert _read(store) == DATA

    @pytest.mark.parametrize("use", USES)
    def test_without_its_bucket_nothing_is_there_or_missing(
        self, objects: ObjectStore, tmp_path: Path, use: str
    ) -> None:
        assert "NoSuchBucket" in refused(S3Store(Bucket("nobodys-bucket"), tmp_path / "parts"), use)

    @pytest.mark.parametrize("use", USES)
    def test_a_refusal_is_named_by_its_code_and_quotes_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: str
    ) -> None:
        body = f"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>{TOKEN} {SECRET}</StringToSign></Error>"

        def refuse(connection: Any, _server: Any) -> None:
            while read_request(connection):
                connection.sendall(answer(body.encode(), "403 Forbidden", f"x-amz-what: {SECRET}\r\n"))

        with RawServer(refuse) as refusing:
            for name, value in ObjectStore(tmp_path).environment(refusing.url).items():
                monkeypatch.setenv(name, value)
            said = refused(S3Store(Bucket("films"), tmp_path / "parts"), use)
        assert "SignatureDoesNotMatch" in said or "403" in said

    def test_an_upload_that_is_not_what_was_sent_is_no_output(
        self, s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put = obstore.put
        monkeypatch.setattr(obstore, "put", lambda store, path, _file, **_: put(store, path, b"half"))
        part = s3_store.part(PATH)
        part.write_bytes(DATA)
        with pytest.raises(StoreAway, match="not the one that was uploaded"):
            s3_store.commit(part, PATH)
        assert part.read_bytes() == DATA

    def test_it_prints_neither_key_nor_token(self, s3_store: S3Store) -> None:
        s3_store.try_out()
        shown = repr(s3_store) + repr(s3_store._objects)
        assert not any(secret in shown for secret in (KEY_ID, SECRET, TOKEN))
