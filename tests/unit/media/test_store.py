"""The folder store: whole and durable or not there, and no path but our own."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.media.errors import InputUnavailable, PathRefused
from tasks.media.store import FolderStore, Store

PATH = "default/0b9c2d1e-1111-4222-8333-444455556666/0.mp4"
DATA = b"some bytes"
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / "store")


def _files(store):
    return sorted(str(p.relative_to(store.root)) for p in store.root.rglob("*") if p.is_file())


def test_committed_part_is_there_whole_and_no_part_is_left(store):
    part = store.part(PATH)
    part.write_bytes(DATA)
    assert not store.exists(PATH)
    assert store.commit(part, PATH) == store.root / PATH
    assert store.exists(PATH)
    with store.open(PATH) as file:
        assert file.read() == DATA
    assert _files(store) == [PATH]


def test_every_try_has_a_part_of_its_own_on_the_same_file_system(store):
    parts = {store.part(PATH) for _ in range(20)}
    assert len(parts) == 20
    assert {part.parent.stat().st_dev for part in parts} == {store.root.stat().st_dev}


def test_second_commit_replaces_the_first(store):
    for data in (b"first", b"second"):
        part = store.part(PATH)
        part.write_bytes(data)
        store.commit(part, PATH)
    assert (store.root / PATH).read_bytes() == b"second"


def test_file_is_synced_before_the_rename_and_its_folder_after(store, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace

    def recording_fsync(descriptor):
        done.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def recording_replace(source, target):
        done.append(("rename", str(target)))
        replace(source, target)

    part = store.part(PATH)
    part.write_bytes(DATA)
    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    final = store.commit(part, PATH)
    folders = [str(store.root), str(final.parent.parent)]
    assert done == [
        *(("fsync", folder) for folder in folders),
        ("fsync", str(part)),
        ("rename", str(final)),
        ("fsync", str(final.parent)),
    ]


def test_room_is_what_is_free_above_the_mark(tmp_path, monkeypatch):
    asked = []

    def usage(path):
        asked.append(path)
        return SimpleNamespace(free=1000)

    monkeypatch.setattr("tasks.durably.shutil.disk_usage", usage)
    store = FolderStore(tmp_path / "not" / "there", low_bytes=400)
    assert store.free_bytes() == 1000
    assert [store.has_room(), store.has_room(600), store.has_room(601)] == [True, True, False]
    assert [FolderStore(tmp_path, low_bytes=low).has_room() for low in (1000, 1001)] == [True, False]
    assert asked[0] == tmp_path


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_crash_before_the_rename_leaves_no_visible_file(store, monkeypatch, broken):
    def crash(*_args):
        raise OSError("power cut")

    part = store.part(PATH)
    part.write_bytes(DATA)
    (store.root / PATH).parent.mkdir(parents=True)
    monkeypatch.setattr(os, broken, crash)
    with pytest.raises(OSError, match="power cut"):
        store.commit(part, PATH)
    assert not store.exists(PATH)
    assert part.exists()


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
def test_path_that_is_not_from_plain_ids_is_refused(store, path):
    for use in (store.part, store.open, store.exists, lambda p: store.commit(store.part(PATH), p)):
        with pytest.raises(PathRefused):
            use(path)


def test_only_parts_of_this_store_are_committed_or_removed(store, tmp_path):
    stranger = tmp_path / "stranger.part"
    stranger.write_bytes(DATA)
    with pytest.raises(PathRefused):
        store.commit(stranger, PATH)
    with pytest.raises(PathRefused):
        store.discard(stranger)
    with pytest.raises(PathRefused):
        store.discard(store.root / ".parts" / ".." / ".." / "stranger.part")
    assert stranger.exists()


def test_discard_removes_a_part_and_does_not_mind_its_absence(store):
    part = store.part(PATH)
    part.write_bytes(DATA)
    store.discard(part)
    store.discard(part)
    assert _files(store) == []


def test_sweep_removes_parts_that_nobody_writes_to_any_more(store):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    old, fresh = store.part(PATH), store.part(PATH)
    for part, age_s in ((old, 7200), (fresh, 60)):
        part.write_bytes(DATA)
        at = (now - timedelta(seconds=age_s)).timestamp()
        os.utime(part, (at, at))
    assert store.sweep_parts(3600, now) == 1
    assert (old.exists(), fresh.exists()) == (False, True)


def test_sweep_of_an_empty_store_does_nothing(store):
    assert store.sweep_parts(0, datetime.now(UTC)) == 0


def test_input_is_kept_by_its_content_and_again_is_no_harm(store):
    assert not store.has_input(SHA, "png")
    for _ in range(2):
        store.put_input(SHA, DATA, "png")
    assert store.has_input(SHA, "png")
    assert store.get_input(SHA, "png") == DATA
    assert _files(store) == [f"inputs/{SHA[:2]}/{SHA}.png"]


def test_input_under_a_wrong_checksum_or_name_is_refused(store):
    for sha256, ext in ((SHA, "../x"), (SHA.upper(), "png"), ("../" + SHA, "png"), (SHA[:-1], "png"), (SHA, ".png")):
        with pytest.raises(PathRefused):
            store.put_input(sha256, DATA, ext)
    with pytest.raises(PathRefused, match="not that of the bytes"):
        store.put_input(SHA, DATA + b"!", "png")


def test_missing_or_damaged_input_is_unavailable_and_can_be_put_anew(store):
    with pytest.raises(InputUnavailable, match="not in the store"):
        store.get_input(SHA, "png")
    store.put_input(SHA, DATA, "png")
    (store.root / "inputs" / SHA[:2] / f"{SHA}.png").write_bytes(b"damaged")
    with pytest.raises(InputUnavailable, match="another checksum"):
        store.get_input(SHA, "png")
    store.put_input(SHA, DATA, "png")
    assert store.get_input(SHA, "png") == DATA


def test_crash_while_an_input_is_put_leaves_nothing(store, monkeypatch):
    def crash(*_args):
        raise OSError("power cut")

    store.part(PATH)
    (store.root / "inputs" / SHA[:2]).mkdir(parents=True)
    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        store.put_input(SHA, DATA, "png")
    assert _files(store) == []


def test_tenant_named_like_the_folder_of_inputs_has_outputs_beside_them(store):
    store.put_input(SHA, DATA, "png")
    path = "inputs/0b9c2d1e/0.mp4"
    part = store.part(path)
    part.write_bytes(DATA)
    store.commit(part, path)
    assert store.exists(path)
    assert store.get_input(SHA, "png") == DATA


def test_folder_store_offers_all_that_a_store_does(store):
    promised = [name for name, value in vars(Store).items() if callable(value) and not name.startswith("_")]
    assert {"part", "commit", "put_input", "get_input"} <= set(promised)
    assert all(callable(getattr(store, name)) for name in promised)
