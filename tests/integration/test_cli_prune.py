"""`prune`: what it removes, what it only would, and what it says of it; on both databases."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from schemas import data_url
from tasks.ledger import tables
from tests.support.bench import Bench
from tests.support.pictures import picture
from tests.support.situations import FILM_BYTES, completed
from workers.cli import cli
from workers.cli.exits import INVALID

pytestmark = pytest.mark.usefixtures("quick_films")


@pytest.fixture
def said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("REELWORKS_DATABASE_URL", bench.ctx.ledger.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("REELWORKS_VAR", str(bench.folder))
    monkeypatch.setenv("REELWORKS_STORE", str(bench.folder / "store"))

    def say(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["prune", *words])
        assert result.exit_code == code, result.output
        return result

    return say


def ended(bench: Bench, *days: float) -> list[str]:
    """A completed job of one picture for each, which ended so many days ago."""
    job_ids = []
    for each in days:
        job_ids.append(bench.submit(first_frame_image=data_url(picture())))
        completed(bench, job_ids[-1])
        with bench.ctx.ledger.begin() as tx:
            values = {"changed_at": tx.now - timedelta(days=each), "lease_until": None}
            tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id == job_ids[-1]).values(values))
    return job_ids


def films(bench: Bench) -> list[Path]:
    return sorted((bench.folder / "store").rglob("*.mp4"))


def test_by_default_all_is_kept_for_good(bench: Bench, said: Any) -> None:
    ended(bench, 10_000)
    shown = said().stdout
    assert "The files of all jobs are kept for good: REELWORKS_OUTPUTS_DAYS is 0." in shown
    assert "Removed: files 0 (0 B), of ended jobs 0; whole jobs 0." in shown
    assert len(films(bench)) == 1


def test_a_dry_run_says_what_would_go_and_removes_nothing(bench: Bench, said: Any) -> None:
    ended(bench, 9, 5, 1)
    shown = said("--dry-run", "--outputs-days", "3", "--jobs-days", "7").stdout
    assert shown == "Would be removed: files 2 (2.0 KiB), of ended jobs 2; whole jobs 1.\n"
    assert len(films(bench)) == 3
    assert len(bench.rows(tables.jobs)) == 3


def test_what_is_due_goes_and_is_counted(bench: Bench, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.pruning.BATCH", 1)
    _, _, young = ended(bench, 9, 5, 1)
    told = json.loads(said("--outputs-days", "3", "--jobs-days", "4.5", "--json").stdout)
    assert told == {
        "dry_run": False,
        "jobs_without_files": 2,
        "files": 2,
        "size_bytes": 2 * len(FILM_BYTES),
        "jobs": 2,
        "removals_left": 1,  # the picture, which the young job needs
    }
    assert [path.parent.name for path in films(bench)] == [young]
    assert [row.id for row in bench.rows(tables.jobs)] == [young]
    assert len(bench.rows(tables.charges)) == 3
    shown = said("--outputs-days", "3").stdout
    assert "Removed: files 0 (0 B), of ended jobs 0" in shown
    assert "Left to the sweep: 1. Pictures" in shown


def test_days_are_the_settings_where_none_are_given(bench: Bench, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELWORKS_OUTPUTS_DAYS", "7")
    ended(bench, 9, 5)
    assert json.loads(said("--json").stdout)["files"] == 1
    assert json.loads(said("--outputs-days", "3", "--json").stdout)["files"] == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--jobs-days", "3"],
        ["--jobs-days", "3", "--outputs-days", "4"],
        ["--outputs-days", "-1"],
        ["--outputs-days", "nan"],
        ["--outputs-days", "36501"],
    ],
)
def test_days_that_make_no_sense_are_wrong_usage(bench: Bench, said: Any, words: list[str]) -> None:
    ended(bench, 10_000)
    said(*words, code=INVALID)
    assert len(films(bench)) == 1
