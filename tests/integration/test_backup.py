"""`backup` and `restore`: a copy made while others write, looked through, and put in the ledger's place."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from schemas.jobs import State
from tasks.ledger import Ledger, copies, migrate, tables
from tasks.ledger.jobs import accept
from tests.support.jobs import NEW_JOB
from tests.support.verbs import told
from tests.support.waiting import wait_until
from workers.cli.exits import FAILED, INVALID, UNCONFIGURED
from workers.folderlock import LOCK_NAME, FolderLock


@pytest.fixture
def books(ledger: Ledger, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("REELWORKS_DATABASE_URL", database_url)
    monkeypatch.setenv("REELWORKS_VAR", str(tmp_path / "var"))
    return ledger


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def add(ledger: Ledger, *job_ids: str) -> None:
    with ledger.begin() as tx:
        accept(tx, [replace(NEW_JOB, id=job_id) for job_id in job_ids])


def jobs_in(path: Path) -> list[str]:
    with closing(Ledger(copies.url_of(path))) as ledger, ledger.read() as tx:
        return list(tx.execute(sa.select(tables.jobs.c.id).order_by(tables.jobs.c.id)).scalars())


@on_sqlite
def test_a_copy_is_of_one_moment_while_others_write(books: Ledger, database_url: str, tmp_path: Path) -> None:
    enough = threading.Event()

    def write() -> None:
        with closing(Ledger(database_url)) as mine:
            for number in range(5_000):
                add(mine, f"job-{number}-a", f"job-{number}-b")
                if enough.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            wait_until(lambda number=number: len(jobs_in(tmp_path / "ledger.db")) > 10 * number, what="more jobs")
            copy = tmp_path / f"copy-{number}.db"
            found = json.loads(told("backup", str(copy), "--json"))
            ids = jobs_in(copy)
            assert len(ids) == found["jobs"]["queued"] > 10 * number
            assert len({each[:-2] for each in ids}) * 2 == len(ids), "of a transaction all or nothing"
            assert copy.stat().st_mode & 0o777 == 0o600
    finally:
        enough.set()
        writer.join()
    assert [path.name for path in tmp_path.glob("*.part*")] == []


@on_sqlite
def test_a_copy_replaces_nothing_unless_it_is_told_to(books: Ledger, tmp_path: Path) -> None:
    copy, ledger = tmp_path / "copy.db", tmp_path / "ledger.db"
    told("backup", str(copy))
    add(books, "job-1")
    assert "is there already" in told("backup", str(copy), code=INVALID)
    assert "there is no folder" in told("backup", f"{copy.parent / 'none'}/", code=INVALID)
    assert jobs_in(copy) == []
    told("backup", str(copy), "--overwrite")
    assert jobs_in(copy) == ["job-1"]
    for own in (ledger, ledger.with_name("ledger.db-wal")):
        assert "is the ledger itself" in told("backup", str(own), "--overwrite", code=INVALID)
    assert "there is no folder" in told("backup", str(tmp_path / "none" / "copy.db"), code=INVALID)
    folder = tmp_path / "copies"
    folder.mkdir()
    told("backup", str(folder))
    (named,) = folder.iterdir()
    assert named.name.startswith("ledger-20")


@on_sqlite
def test_a_ledger_is_put_back_and_the_one_before_is_kept_as_it_was(books: Ledger, tmp_path: Path) -> None:
    add(books, "job-1")
    told("backup", str(tmp_path / "copy.db"))
    add(books, "job-2")
    books.close()
    done = json.loads(told("restore", str(tmp_path / "copy.db"), "--json"))
    assert done["held"] == {"queued": 1}
    assert jobs_in(tmp_path / "ledger.db") == ["job-1"]
    assert jobs_in(Path(done["replaced"])) == ["job-1", "job-2"]
    assert jobs_in(tmp_path / "copy.db") == ["job-1"]
    with books.read() as tx:
        assert tx.execute(sa.select(tables.jobs.c.state)).scalar() == State.UNCERTAIN


OPENS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT 1 FROM jobs").fetchall()
print(1, flush=True)
sys.stdin.readline()
"""
"""What has a ledger open, and does nothing with it."""


@on_sqlite
def test_a_ledger_that_a_process_has_open_is_not_replaced(books: Ledger, tmp_path: Path) -> None:
    ledger, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    add(books, "job-1")
    told("backup", str(copy))
    add(books, "job-2")
    books.close()
    holder = subprocess.Popen([sys.executable, "-c", OPENS, ledger], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        assert "has" in told("restore", str(copy), code=FAILED)
        assert "open: stop all that work" in told("restore", "--after-the-fact", code=FAILED)
        holder.communicate(b"\n")
    assert jobs_in(ledger) == ["job-1", "job-2"]
    lock = FolderLock(tmp_path / "var" / LOCK_NAME)
    lock.acquire()
    assert "in use by process" in told("restore", str(copy), code=FAILED)
    lock.release()
    told("restore", str(copy))
    assert jobs_in(ledger) == ["job-1"]


def spoil_a_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 4] = b"\xa5" * 4096
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 4096 * 9])


def another_database(path: Path) -> None:
    path.unlink()
    with closing(sa.create_engine(f"sqlite:///{path}").raw_connection()) as connection:
        connection.cursor().execute("CREATE TABLE jobs (id TEXT)")
        connection.commit()


def of_a_later_version(path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()


@on_sqlite
@pytest.mark.parametrize(
    ("harm", "word", "code"),
    [
        (spoil_a_page, "damaged", FAILED),
        (cut_short, "", FAILED),
        (lambda path: path.write_text("no database" * 999), "can't be copied (file is not a database)", FAILED),
        (another_database, "no ledger", FAILED),
        (of_a_later_version, "9999", UNCONFIGURED),
        (Path.unlink, "there is no file", INVALID),
    ],
    ids=["a page", "cut short", "a text", "another database", "a later version", "nothing"],
)
def test_what_is_no_whole_ledger_is_not_put_back(
    books: Ledger, tmp_path: Path, harm: Callable[[Path], Any], word: str, code: int
) -> None:
    copy = tmp_path / "copy.db"
    told("backup", str(copy))
    add(books, "job-1")
    books.close()
    harm(copy)
    assert word in told("restore", str(copy), code=code)
    assert jobs_in(tmp_path / "ledger.db") == ["job-1"]
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name or "replaced" in path.name] == []


@on_sqlite
def test_a_copy_of_an_earlier_version_is_brought_up_to_this_one(books: Ledger, tmp_path: Path) -> None:
    old = Ledger(copies.url_of(tmp_path / "old.db"))
    config = migrate._config()
    with old.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
    old.close()
    books.close()
    told("restore", str(tmp_path / "old.db"))
    migrate.check(books)


def test_what_stands_beside_a_ledger_goes_with_it(tmp_path: Path) -> None:
    final, part, aside = tmp_path / "ledger.db", tmp_path / "ledger.db.part", tmp_path / "aside.db"
    final.write_bytes(b"old")
    for suffix in ("-wal", "-shm"):
        final.with_name(final.name + suffix).write_bytes(b"of the old")
    part.write_bytes(b"new")
    copies.exchange(part, final, aside)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "ledger.db": b"new",
        "aside.db": b"old",
        "aside.db-wal": b"of the old",
        "aside.db-shm": b"of the old",
    }
    final.unlink()
    part.write_bytes(b"newer")
    final.with_name("ledger.db-wal").write_bytes(b"left behind")
    copies.exchange(part, final, tmp_path / "other.db")
    assert (final.read_bytes(), (tmp_path / "other.db-wal").read_bytes()) == (b"newer", b"left behind")
    assert not final.with_name("ledger.db-wal").exists()


@on_postgresql
def test_postgresql_is_copied_and_put_back_by_its_own_tools(
    books: Ledger, redis_url: str, pulse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELWORKS_REDIS_URL", redis_url)
    assert "pg_dump --format=custom --file=copy.dump ..." in told("backup", "copy.dump", code=INVALID)
    (tmp_path / "copies").mkdir()
    assert f"--file={tmp_path}/copies/ledger.dump ..." in told("backup", f"{tmp_path}/copies/", code=INVALID)
    assert "--after-the-fact" in told("restore", "copy.db", code=INVALID)
    add(books, "job-1")
    pulse.lanes.seed("poll", 60)
    assert "the lane poll is alive" in told("restore", "--after-the-fact", code=FAILED)
    pulse.redis.flushall()
    assert json.loads(told("restore", "--after-the-fact", "--json"))["held"] == {"queued": 1}


@pytest.mark.parametrize("words", [[], ["copy.db", "--after-the-fact"], ["--after-the-fact", "--trust-queued"]])
def test_restore_is_told_one_thing(words: list[str]) -> None:
    told("restore", *words, code=INVALID)
