"""`report`: what its page and its table say of jobs, that sums are those of `costs`, and that both may be sent on."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from PIL import Image

from schemas.jobs import Output, State
from tasks.domain.budgets import Budget, Period, WhenUsedUp
from tasks.domain.prices import Price
from tasks.domain.transitions import Event
from tasks.ledger import Ledger, facts, tables
from tasks.ledger.deliverables import store_outputs
from tasks.ledger.jobs import accept, get, move
from tasks.ledger.money import begin_attempt, charge, end_attempt
from tasks.ledger.spending import set_budget
from tests.support.films import film
from tests.support.html import Page
from tests.support.jobs import NEW_JOB
from workers.cli import cli
from workers.cli.exits import INVALID
from workers.report import sheet
from workers.report.rows import COLUMNS

PROMPT = "a canary in the prompt"
URL = "https://pictures.example/first.png?signature=canary"
NEW = replace(NEW_JOB, request={"prompt": PROMPT, "first_frame_image": URL, "metadata": {"note": "canary"}})
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def books(ledger: Ledger, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("REELWORKS_DATABASE_URL", database_url)
    monkeypatch.setenv("REELWORKS_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("REELWORKS_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return ledger


class Story:
    """Takes a job of the ledger through its life, each step at its own second after `begin`."""

    def __init__(self, ledger: Ledger, job_id: str, begin: datetime = NOON, **changes: Any) -> None:
        self.ledger, self.job_id, self.begin = ledger, job_id, begin
        with ledger.begin() as tx:
            accept(tx, [replace(NEW, id=job_id, **changes)])
        self._date(1, 0)
        self._set(tables.jobs, tables.jobs.c.id, accepted_at=begin)

    def _set(self, table: sa.Table, owner: sa.ColumnElement[Any], **values: Any) -> None:
        with self.ledger.begin() as tx:
            tx.execute(sa.update(table).where(owner == self.job_id).values(values))

    def _date(self, seq: int, second: float) -> None:
        at = self.begin + timedelta(seconds=second)
        mine = (tables.timeline.c.job_id == self.job_id) & (tables.timeline.c.seq == seq)
        with self.ledger.begin() as tx:
            tx.execute(sa.update(tables.timeline).where(mine).values(at=at))
        self._set(tables.jobs, tables.jobs.c.id, changed_at=at)

    def step(self, event: Event, second: float, **values: Any) -> Story:
        with self.ledger.begin() as tx:
            job = get(tx, self.job_id)
            assert job is not None
            back = event in (Event.UNSENT, Event.ANEW)
            moved = move(tx, self.job_id, event, lease_s=None if back else 30, **values)
            assert moved is not None
        self._date(moved.version, second)
        return self

    def call(self, second: float, outcome: str | None) -> Story:
        """A create call with this outcome, and what it makes of the job."""
        self.step(Event.ADMIT, second, key_alias="main").step(Event.BEGIN, second)
        with self.ledger.begin() as tx:
            job = get(tx, self.job_id)
            assert job is not None
            attempt_id = begin_attempt(tx, job)
            if outcome is not None:
                end_attempt(tx, attempt_id, outcome)
        return self

    def paid(self, amount_usd: str, at: datetime, *, estimated: bool = False) -> Story:
        with self.ledger.begin() as tx:
            job = get(tx, self.job_id)
            assert job is not None
            charge(tx, job, Price(Decimal(amount_usd), estimated), discount="1", usage={}, metadata={})
            mine = tables.charges.c.job_id == self.job_id
            tx.execute(sa.update(tables.charges).where(mine).values(charged_at=at))
        return self

    def complete(self, amount_usd: str = "0.28", *, generating_s: float = 60, at: datetime | None = None) -> Story:
        task = f"task-{self.job_id}"
        self.call(10, "accepted").step(Event.ACCEPTED, 10, provider_task_id=task, generating_at=self.begin)
        self.step(Event.COMPLETED, 10 + generating_s, answer={"outputs": [{"url": URL}]})
        with self.ledger.begin() as tx:
            path = f"default/{self.job_id}/0.mp4"
            store_outputs(tx, self.job_id, [Output(0, "video", path, 1_000, "a" * 64, 1366, 768, 6.0)])
        self.step(Event.STORED, 15 + generating_s)
        self.paid(amount_usd, at or self.begin)
        return self.step(Event.CHARGED, 15 + generating_s)


def told(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, list(words))
    assert result.exit_code == code, result.output
    return result.stdout


def figures(*words: str) -> Any:
    return json.loads(told("report", "--since", "2026-03-01", "--until", "2026-03-03", "--json", *words))


def rows(path: str = "report.csv") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(path).read_text())))


def as_money(text: str) -> set[str]:
    return set(re.findall(r"\$[0-9,.]+[0-9]", text))


def test_page_table_and_figures_have_the_sums_of_costs(books: Ledger) -> None:
    for number, (amount, tenant) in enumerate((("0.1", "default"), ("0.2", "default"), ("0.000001", "film"))):
        Story(books, f"job-{number}", NOON - timedelta(days=number % 2), tenant=tenant).complete(amount)
    Story(books, "accepted-before", NOON - timedelta(days=9)).complete("0.7", at=NOON)
    Story(books, "charged-after").complete("3", at=NOON + timedelta(days=9))
    Story(books, "of-another-time", NOON - timedelta(days=9)).complete("5")
    Story(books, "not-kept").complete("0.05")
    with books.begin() as tx:
        mine = tables.charges.c.job_id == "not-kept"
        tx.execute(sa.update(tables.charges).where(mine).values(job_id=None, pruned_job_id="not-kept"))
        for table in (tables.timeline, tables.attempts, tables.outputs):
            tx.execute(sa.delete(table).where(table.c.job_id == "not-kept"))
        tx.execute(sa.delete(tables.jobs).where(tables.jobs.c.id == "not-kept"))
    for tenant in (None, "default", "film"):
        only = [] if tenant is None else ["--tenant", tenant]
        due = json.loads(told("costs", "--since", "2026-03-01", "--until", "2026-03-03", "--json", *only))
        found = figures("--out", "report.html", "--csv", "report.csv", *only)
        assert (found["total_usd"], found["charges"]) == (due["total_usd"], due["charges"])
        assert sum(Decimal(row["charged_in_span_usd"]) for row in rows()) == Decimal(due["total_usd"])
        shown = as_money(Path("report.html").read_text())
        for kind in ("by_day", "by_model", "by_tenant", "by_key"):
            sums = {f"${Decimal(row['amount_usd']):f}" for row in due[kind]}
            assert {each.rstrip("0") for each in sums} <= {each.rstrip("0") for each in shown}, kind
    found = figures("--csv", "report.csv")
    assert found["total_usd"] == "1.050001"
    assert found["delivered_s"] == 24.0, "of the jobs that were charged in the span, and are kept"
    assert Decimal(found["delivered_second_usd"]) == (Decimal("1.000001") / 24).quantize(Decimal("0.000001"))
    table = {row["job"]: row for row in rows()}
    assert table.keys() == {"job-0", "job-1", "job-2", "charged-after", "accepted-before", "not-kept"}
    assert (table["charged-after"]["charged_usd"], table["charged-after"]["charged_in_span_usd"]) == ("3.00", "0.00")
    assert (table["not-kept"]["state"], table["not-kept"]["charged_usd"]) == ("", "0.05")


@on_sqlite
def test_it_says_how_jobs_went(books: Ledger) -> None:
    for number in range(19):
        Story(books, f"quick-{number}").complete(generating_s=60)
    Story(books, "slow").complete(generating_s=600)
    Story(books, "early", NOON - timedelta(days=1)).step(Event.CANCEL, 5)
    Story(books, "waits")
    again = Story(books, "again").call(10, "throttled").step(Event.UNSENT, 11)
    again.call(20, "unknown").step(Event.UNKNOWN, 21).step(Event.ANEW, 30)
    again.call(40, "rejected").step(
        Event.REJECTED, 41, error_code="2013", error_message="bad", error_stage=State.CREATING
    )
    Story(books, "doubtful").call(10, "unknown").step(Event.UNKNOWN, 20)
    with books.begin() as tx:
        set_budget(tx, Budget("default", Period.MONTH, Decimal(50), WhenUsedUp.REFUSE))
        set_budget(tx, Budget("film", Period.DAY, Decimal(7), WhenUsedUp.WAIT))
    found = figures("--csv", "report.csv", "--out", "report.html")
    assert found["by_outcome"] == {"completed": 20, "failed": 1, "cancelled": 1, "uncertain": 1, "under way": 1}
    times = {each["phase"]: each for each in found["times"]}
    assert times["waiting"]["jobs"] == 20
    assert times["waiting"]["median_s"] == pytest.approx(10, rel=0.03)
    assert times["generating"]["median_s"] == pytest.approx(60, rel=0.03)
    assert times["generating"]["p95_s"] == pytest.approx(600, rel=0.9)
    assert times["downloading"]["median_s"] == pytest.approx(5, rel=0.03)
    assert found["failures"] == [{"stage": "creating", "code": "2013", "jobs": 1}]
    assert (found["jobs_tried_again"], found["extra_create_calls"]) == (1, 2)
    assert found["doubts"] == {"created once more, which may have cost twice": 1, "still uncertain": 1}
    text = Page(Path("report.html").read_text()).text
    for words in (
        "2013 creating 1",
        "default, a month: $5.60 used or held, of $50.00",
        "film, a day",
        "2026-03-01 0 0 1",
    ):
        assert words in text
    assert "film, a day" not in Page(told("report", "--since", "2026-03-01", "--out", "-", "--tenant", "default")).text
    table = {row["job"]: row for row in rows()}
    assert [table["quick-0"][name] for name in ("waiting_s", "generating_s", "downloading_s", "create_calls")] == [
        *("10.000", "60.000", "5.000", "1")
    ]
    assert [table["again"][name] for name in ("state", "create_calls", "error_code", "delivered_s")] == [
        *("failed", "3", "2013", "0.000")
    ]
    assert float(table["again"]["in_doubt_s"]) == 9.0
    assert table["waits"]["ended_at"] == ""
    assert tuple(table["waits"]) == COLUMNS


@on_sqlite
def test_both_can_be_sent_on(books: Ledger) -> None:
    wild = "=HYPERLINK(<script>alert(1)</script>)"
    Story(books, "job-1").complete()
    failed = {"error_code": wild, "error_message": PROMPT, "error_stage": State.CREATING}
    Story(books, "job-2").call(1, "rejected").step(Event.REJECTED, 2, **failed)
    figures("--out", "report.html", "--csv", "report.csv")
    page = Path("report.html").read_text()
    assert Page(page).problems == []
    assert not {"script", "link", "iframe", "a", "form"} & set(Page(page).tags)
    assert not re.search(r"(https?:|//[a-z]|url\(|@import)", page)
    assert "<script" not in page
    assert wild in Page(page).text, "as text"
    assert {row["error_code"] for row in rows()} == {"", f"'{wild}"}
    for text in (page, Path("report.csv").read_text()):
        assert "canary" not in text
        assert "pictures.example" not in text


@on_sqlite
def test_the_sheet_has_a_still_of_each_film_that_is_there(
    books: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("there", "gone", "junk", "pruned", "large")):
        Story(books, name, NOON + timedelta(minutes=number)).complete()
        (tmp_path / "store" / "default" / name).mkdir(parents=True)
        if name != "gone":
            film(tmp_path / "store" / "default" / name / "0.mp4", 640, 360, 1.0)
    (tmp_path / "store" / "default" / "junk" / "0.mp4").write_bytes(b"no film" * 99)
    with books.begin() as tx:
        tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id == "pruned").values(pruned_at=tx.now))
        mine = tables.outputs.c.job_id == "large"
        tx.execute(sa.update(tables.outputs).where(mine).values(size_bytes=2**40))

    def sheet_of(*words: str) -> list[str]:
        figures("--out", "report.html", *words)
        page = Path("report.html").read_text()
        cells = re.findall(r"<li>(.*?)</li>", page, re.DOTALL)
        return [re.sub(r"\s+", " ", each) for each in cells]

    cells = sheet_of()
    said = ["no frame can be shown", "not kept any more", "no frame can be shown", "its file is missing", "data:image"]
    assert [word in cell for word, cell in zip(said, cells, strict=True)] == [True] * 5
    (jpeg,) = re.findall(r"data:image/jpeg;base64,([^\"]+)", cells[-1])
    data = base64.b64decode(jpeg)
    with Image.open(io.BytesIO(data)) as still:
        assert (still.format, still.size) == ("JPEG", (sheet.WIDTH_PX, 135))
    assert len(data) <= sheet.STILL_BYTES_MOST
    assert [cell.count("pruned") for cell in sheet_of("--thumbnails", "2")] == [0, 1]
    assert sheet_of("--thumbnails", "0") == []
    monkeypatch.setattr(sheet, "SHEET_BYTES_MOST", 10)
    assert all("the sheet is full" in cell for cell in sheet_of())


@on_sqlite
def test_spans_are_days_or_times_back_from_now(books: Ledger) -> None:
    now = datetime.now(UTC)
    for hours in (1, 30, 50):
        Story(books, f"ago-{hours}", now - timedelta(hours=hours)).complete()

    def jobs(*words: str) -> int:
        count = json.loads(told("report", "--json", "--csv", "report.csv", *words))["jobs"]
        assert isinstance(count, int)
        return count

    assert jobs() == jobs("--since", "7d") == 3
    assert jobs("--since", "24h") == 1
    assert jobs("--since", "3d", "--until", "24h") == 2
    assert jobs("--since", (now - timedelta(days=4)).date().isoformat(), "--until", "2d") == 1
    last = ["--since", "9999-12-30", "--until", "9999-12-31"]
    for wrong in (["--since", "yesterday"], ["--since", "1h", "--until", "2h"], ["--since", "367d"], last):
        told("report", *wrong, code=INVALID)
    told("report", "--out", "a", "--csv", "a", code=INVALID)
    assert Path("report.html").exists() is False
    told("report")
    assert Path("report.html").exists()


@on_sqlite
def test_a_page_of_many_jobs_is_read_a_page_at_a_time(books: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "_PAGE", 3)
    for number in range(7):
        Story(books, f"job-{number}", NOON).complete()
        Story(books, f"before-{number}", NOON - timedelta(days=9)).complete(at=NOON)
    found = figures("--csv", "report.csv")
    assert found["jobs"] == 7
    assert len({row["job"] for row in rows()}) == len(rows()) == 14
    assert sum(Decimal(row["charged_in_span_usd"]) for row in rows()) == Decimal(found["total_usd"])
