"""The spool: an answer that the database could not take is on disk before anybody is told, and until it is written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.answering import replay
from tasks.context import Context
from tasks.domain.answers import Accepted, Throttled, Unknown
from tasks.domain.creating import Answer, judge
from tasks.spool import Spool

ENTRY = {"attempt_id": "a-1", "job_id": "job-1"}


def test_an_entry_is_found_again_until_it_is_done(tmp_path: Path) -> None:
    Spool(tmp_path / "spool").keep("a-1", ENTRY)
    again = Spool(tmp_path / "spool")
    assert list(again.entries()) == [("a-1", ENTRY)]
    again.done("a-1")
    assert list(again.entries()) == []


def test_nothing_waits_where_there_is_no_folder_yet(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    assert spool.waiting() == 0
    with spool.alone() as mine:
        assert not mine


def test_a_spool_keeps_its_name_wherever_its_folder_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool")
    assert not spool.has_name()
    spool.keep("a-1", ENTRY)
    monkeypatch.setattr("socket.gethostname", lambda: "first")
    name = spool.name()
    monkeypatch.setattr("socket.gethostname", lambda: "second")
    moved = Spool(tmp_path / "spool")
    assert (moved.has_name(), moved.name()) == (True, name)
    assert name.startswith("first-")
    assert moved.waiting() == 1  # the name is no entry
    assert Spool(tmp_path / "other").waiting() == 0


def test_bytes_are_on_disk_before_the_name_and_the_name_before_keep_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def seen_fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        done.append(f"fsync {kind}")
        fsync(descriptor)

    def seen_replace(path: Path, target: Any) -> Path:
        done.append("rename")
        return replace(path, target)

    spool = Spool(tmp_path / "spool")
    spool.keep("a-0", ENTRY)  # makes the folder
    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(Path, "replace", seen_replace)
    spool.keep("a-1", ENTRY)
    assert done == ["fsync file", "rename", "fsync folder"]


def test_what_can_not_be_read_is_told_apart_and_can_be_set_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.keep("a-1", ENTRY)
    (tmp_path / "spool" / "a-0.json").write_text("{torn")
    assert list(spool.entries()) == [("a-0", None), ("a-1", ENTRY)]
    spool.set_aside("a-0")
    assert spool.waiting() == 1
    assert (tmp_path / "spool" / "a-0.refused").exists()


def test_one_process_at_a_time_works_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.keep("a-1", ENTRY)
    with spool.alone() as first, spool.alone() as second:
        assert (first, second) == (True, False)
    with spool.alone() as third:
        assert third


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.keep("a-1", ENTRY)
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "spool" / "a-1.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("outcome", [Accepted("t-1"), Throttled(3.0), Unknown("ReadTimeout", None)])
def test_an_answer_comes_out_as_it_went_in(outcome: Any, tmp_path: Path) -> None:
    answer = Answer("job-1", "a-1", "main", judge(outcome, 5, 30))
    spool = Spool(tmp_path / "spool")
    spool.keep("a-1", answer.to_json())
    ((_, entry),) = spool.entries()
    assert Answer.from_json(entry or {}) == answer


def test_it_has_room_while_the_disk_is_above_its_mark_even_before_its_folder_is_made(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "var" / "spool")
    assert spool.has_room(0)
    assert not spool.has_room(10**18)
    spool.keep("a-1", ENTRY)
    assert spool.has_room(0)


def test_a_child_that_is_forked_meanwhile_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.keep("a-1", ENTRY)
    told, tell = os.pipe()
    with spool.alone() as mine:
        assert mine
        child = os.fork()
        if child == 0:
            os.close(tell)
            os.read(told, 1)  # until the parent is done
            os._exit(0)
    try:
        with spool.alone() as again:
            assert again
    finally:
        os.close(tell)
        os.close(told)
        os.waitpid(child, 0)


def test_each_entry_is_replayed_in_a_block_of_its_own(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for name in ("a-1", "a-2"):
        spool.keep(name, {"form": "of another version"})
    waiting: list[int] = []

    @contextmanager
    def block() -> Iterator[None]:
        waiting.append(spool.waiting())
        yield
        waiting.append(spool.waiting())

    replay(cast(Context, SimpleNamespace(spool=spool)), block)
    assert waiting == [2, 1, 1, 0]
