"""What every store promises, tried on each: a folder, and a bucket on a real server of S3's protocol."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import pytest
import requests

from tasks.media.bucket import Bucket
from tasks.media.errors import InputUnavailable, PathRefused, StoreAway
from tasks.media.folderstore import FolderStore
from tasks.media.s3store import S3Store
from tasks.media.store import Removed, SignedUrl, Store
from tests.support.objects import ObjectStore

PATH = "default/0b9c2d1e-1111-4222-8333-444455556666/0.mp4"
DATA = b"some bytes"
SHA = hashlib.sha256(DATA).hexdigest()
LARGE = os.urandom(20_000_000)
"""Goes to an object store in pieces."""

AnyStore = FolderStore | S3Store


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyStore]:
    if request.param == "folder":
        yield FolderStore(tmp_path / "store")
        return
    yield request.getfixturevalue("s3_store")


def commit(store: Store, data: bytes, path: str = PATH) -> None:
    part = store.part(path)
    part.write_bytes(data)
    store.commit(part, path)


def read(store: Store, path: str = PATH) -> bytes:
    with store.open(path) as file:
        return file.read()


def visible(store: AnyStore) -> list[str]:
    if isinstance(store, S3Store):
        return sorted(each["path"] for each in obstore.list(store._objects).collect())
    files = (path.relative_to(store.root) for path in store.root.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if path.parts[0] != ".parts")


def parts(store: AnyStore) -> list[Path]:
    return sorted(store._parts.folder.glob("*"))


def damage(store: AnyStore, path: str) -> None:
    if isinstance(store, S3Store):
        obstore.put(store._objects, path, b"damaged")
    else:
        (store.root / path).write_bytes(b"damaged")


@pytest.mark.parametrize("data", [DATA, LARGE], ids=["small", "in pieces"])
def test_committed_part_is_there_whole_and_no_part_is_left(store: AnyStore, data: bytes) -> None:
    part = store.part(PATH)
    part.write_bytes(data)
    assert not store.exists(PATH)
    store.commit(part, PATH)
    assert store.exists(PATH)
    assert read(store) == data
    assert visible(store) == [PATH]
    assert parts(store) == []


def test_every_try_has_a_part_of_its_own(store: AnyStore) -> None:
    assert len({store.part(PATH) for _ in range(20)}) == 20


@pytest.mark.parametrize("second", [b"second", DATA], ids=["other bytes", "the same bytes"])
def test_second_commit_replaces_the_first(store: AnyStore, second: bytes) -> None:
    for data in (DATA, second):
        commit(store, data)
    assert read(store) == second
    assert visible(store) == [PATH]
    assert parts(store) == []


def test_two_commits_at_once_are_one_output(store: AnyStore) -> None:
    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(commit, store, LARGE) for _ in range(4)]:
            each.result(60)
    assert read(store) == LARGE
    assert visible(store) == [PATH]
    assert parts(store) == []


def test_part_that_is_gone_is_not_committed(store: AnyStore) -> None:
    part = store.part(PATH)
    with pytest.raises(OSError, match="No such file"):
        store.commit(part, PATH)
    assert visible(store) == []


def test_what_is_not_there_is_not_found(store: AnyStore) -> None:
    assert not store.exists(PATH)
    with pytest.raises(FileNotFoundError):
        store.open(PATH)
    with pytest.raises(FileNotFoundError):
        store.handed_out(PATH)


def test_what_is_handed_out_are_the_bytes(store: AnyStore) -> None:
    commit(store, LARGE)
    place = store.handed_out(PATH)
    if isinstance(place, Path):
        assert place.read_bytes() == LARGE
        return
    assert isinstance(place, SignedUrl)
    assert "http" not in repr(place)
    with requests.Session() as session:
        whole = session.get(place.url, timeout=10)
        assert (whole.content, whole.headers["Content-Type"]) == (LARGE, "video/mp4")
        assert whole.headers["Content-Disposition"].endswith('-0.mp4"')
        some = session.get(place.url, headers={"Range": "bytes=10-19"}, timeout=10)
        assert (some.status_code, some.content) == (206, LARGE[10:20])
        head = session.head(store.handed_out(PATH, "HEAD").url, timeout=10)  # type: ignore[union-attr]
        assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(LARGE)))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "/etc/passwd",
        "default/job/0.mp4/",
        "/default/job/0.mp4",
        "../default/job/0.mp4",
        "default/../0.mp4",
        "default/job/../0.mp4",
        "default/./0.mp4",
        "default//0.mp4",
        "default/job/x.mp4",
        "default/job/0",
        "default/job/0.mp4.part",
        "default/job/0.MP4",
        "default/job/0.mp4\n",
        "default/jo b/0.mp4",
        "default/job\x00/0.mp4",
        "default\\job\\0.mp4",
        ".parts/job/0.mp4",
        "inputs/ab/0.mp4",
        "default/jöb/0.mp4",
        "d" * 129 + "/job/0.mp4",
    ],
)
def test_path_that_is_not_from_plain_ids_is_refused(store: AnyStore, path: str) -> None:
    uses = (store.part, store.open, store.exists, store.handed_out, lambda p: store.commit(store.part(PATH), p))
    for use in uses:
        with pytest.raises(PathRefused):
            use(path)


def test_only_parts_of_this_store_are_committed_or_removed(store: AnyStore, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.part"
    stranger.write_bytes(DATA)
    folder = store.part(PATH).parent
    with pytest.raises(PathRefused):
        store.commit(stranger, PATH)
    for other in (stranger, folder / ".." / ".." / "stranger.part", folder / "stranger"):
        with pytest.raises(PathRefused):
            store.discard(other)
    assert stranger.exists()


def test_discard_removes_a_part_and_does_not_mind_its_absence(store: AnyStore) -> None:
    part = store.part(PATH)
    part.write_bytes(DATA)
    store.discard(part)
    store.discard(part)
    assert (parts(store), visible(store)) == ([], [])


def test_sweep_removes_parts_that_nobody_writes_to_any_more(store: AnyStore) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    old, fresh = store.part(PATH), store.part(PATH)
    for part, age_s in ((old, 7200), (fresh, 60)):
        part.write_bytes(DATA)
        at = (now - timedelta(seconds=age_s)).timestamp()
        os.utime(part, (at, at))
    assert store.sweep_parts(3600, now) == 1
    assert (old.exists(), fresh.exists()) == (False, True)


def test_sweep_of_an_empty_store_does_nothing(store: AnyStore) -> None:
    assert store.sweep_parts(0, datetime.now(UTC)) == 0


def test_room_is_what_is_free_above_the_mark(store: AnyStore) -> None:
    assert store.has_room()
    assert store.has_room(store.free_bytes() // 2)
    store.low_bytes = 1 << 62
    assert not store.has_room()


def test_input_is_kept_by_its_content_and_again_is_no_harm(store: AnyStore) -> None:
    assert not store.has_input(SHA, "png")
    for _ in range(2):
        store.put_input(SHA, DATA, "png")
    assert store.has_input(SHA, "png")
    assert store.get_input(SHA, "png") == DATA
    assert visible(store) == [f"inputs/{SHA[:2]}/{SHA}.png"]
    assert parts(store) == []


def test_input_that_is_put_by_many_at_once_is_one(store: AnyStore) -> None:
    data = LARGE[:9_000_000]
    sha256 = hashlib.sha256(data).hexdigest()
    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(store.put_input, sha256, data, "png") for _ in range(4)]:
            each.result(60)
    assert store.get_input(sha256, "png") == data
    assert visible(store) == [f"inputs/{sha256[:2]}/{sha256}.png"]


def test_input_under_a_wrong_checksum_or_name_is_refused(store: AnyStore) -> None:
    for sha256, ext in ((SHA, "../x"), (SHA.upper(), "png"), ("../" + SHA, "png"), (SHA[:-1], "png"), (SHA, ".png")):
        with pytest.raises(PathRefused):
            store.put_input(sha256, DATA, ext)
    with pytest.raises(PathRefused, match="not that of the bytes"):
        store.put_input(SHA, DATA + b"!", "png")


def test_missing_or_damaged_input_is_unavailable_and_can_be_put_anew(store: AnyStore) -> None:
    with pytest.raises(InputUnavailable, match="not in the store"):
        store.get_input(SHA, "png")
    store.put_input(SHA, DATA, "png")
    damage(store, f"inputs/{SHA[:2]}/{SHA}.png")
    with pytest.raises(InputUnavailable, match="another checksum"):
        store.get_input(SHA, "png")
    store.put_input(SHA, DATA, "png")
    assert store.get_input(SHA, "png") == DATA


def test_damaged_output_is_replaced_by_the_next_commit(store: AnyStore) -> None:
    commit(store, DATA)
    damage(store, PATH)
    commit(store, DATA)
    assert read(store) == DATA


def test_tenant_named_like_the_folder_of_inputs_has_outputs_beside_them(store: AnyStore) -> None:
    store.put_input(SHA, DATA, "png")
    path = "inputs/0b9c2d1e/0.mp4"
    commit(store, DATA, path)
    assert store.exists(path)
    assert store.get_input(SHA, "png") == DATA


JOB = PATH.split("/")[1]


def test_all_outputs_of_a_job_are_removed_and_nobody_elses(store: AnyStore) -> None:
    mine = [PATH, PATH.replace("0.mp4", "1.jpg")]
    others = [PATH.replace(JOB, f"{JOB}-2"), PATH.replace("default", "other"), f"default/x{JOB}/0.mp4"]
    for path in [*mine, *others]:
        commit(store, DATA, path)
    assert store.remove_outputs("default", JOB) == Removed(2, 2 * len(DATA))
    assert visible(store) == sorted(others)
    assert store.remove_outputs("default", JOB) == Removed()
    commit(store, DATA)  # it can be kept again
    assert read(store) == DATA


def test_an_input_is_removed_and_can_be_put_again(store: AnyStore) -> None:
    other = hashlib.sha256(LARGE).hexdigest()
    store.put_input(SHA, DATA, "png")
    store.put_input(other, LARGE, "png")
    assert store.remove_input(SHA, "png") == Removed(1, len(DATA))
    assert not store.has_input(SHA, "png")
    assert store.has_input(other, "png")
    assert store.remove_input(SHA, "png") == Removed()
    store.put_input(SHA, DATA, "png")
    assert store.get_input(SHA, "png") == DATA


@pytest.mark.parametrize("ids", [("..", JOB), ("default", ".."), ("default", ""), ("", JOB), ("inputs", "ab")])
def test_nothing_but_outputs_and_inputs_can_be_removed(store: AnyStore, ids: tuple[str, str]) -> None:
    with pytest.raises(PathRefused):
        store.remove_outputs(*ids)
    with pytest.raises(PathRefused):
        store.remove_input("..", "png")


def test_nothing_is_taken_for_removed_when_the_bucket_is_not_there(objects: ObjectStore, tmp_path: Path) -> None:
    gone = S3Store(Bucket("reelworks-nobodys-bucket"), tmp_path / "parts")
    for remove in (lambda: gone.remove_outputs("default", JOB), lambda: gone.remove_input(SHA, "png")):
        with pytest.raises(StoreAway, match="NoSuchBucket"):
            remove()


def test_it_offers_all_that_a_store_does(store: AnyStore) -> None:
    promised = [name for name, value in vars(Store).items() if callable(value) and not name.startswith("_")]
    assert {"part", "commit", "handed_out", "put_input", "get_input", "remove_outputs"} <= set(promised)
    assert all(callable(getattr(store, name)) for name in promised)


def test_two_places_in_one_bucket_know_nothing_of_one_another(objects: ObjectStore, tmp_path: Path) -> None:
    bucket = objects.new_bucket("films")
    films, others = (S3Store(each, tmp_path / "parts") for each in (bucket, replace(bucket, prefix="others")))
    commit(films, DATA)
    assert (films.exists(PATH), others.exists(PATH)) == (True, False)
