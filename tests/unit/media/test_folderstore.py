"""What is the folder store's alone: how it is durable. What holds for every store: tests/integration/test_stores.py."""

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.media.folderstore import FolderStore

PATH = "default/0b9c2d1e-1111-4222-8333-444455556666/0.mp4"
DATA = b"some bytes"
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / "store")


def _files(store):
    return sorted(str(p.relative_to(store.root)) for p in store.root.rglob("*") if p.is_file())


def test_every_try_has_a_part_of_its_own_on_the_same_file_system(store):
    parts = {store.part(PATH) for _ in range(20)}
    assert len(parts) == 20
    assert {part.parent.stat().st_dev for part in parts} == {store.root.stat().st_dev}


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
    store.commit(part, PATH)
    final = store.root / PATH
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


def test_crash_while_an_input_is_put_leaves_nothing(store, monkeypatch):
    def crash(*_args):
        raise OSError("power cut")

    store.part(PATH)
    (store.root / "inputs" / SHA[:2]).mkdir(parents=True)
    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        store.put_input(SHA, DATA, "png")
    assert _files(store) == []
