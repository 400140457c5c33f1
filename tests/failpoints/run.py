"""The whole proof: deaths at each place, the end of all jobs, an operator who tidies up, and the books compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.jobs import TERMINAL
from tests.failpoints.books import Verdict, judge, lost
from tests.failpoints.deaths import Line, bill_matches, count, die_at, evidence, places, settle
from tests.failpoints.operator import resolve
from tests.failpoints.starting import started
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class Proof:
    """What each place came to, and whether the promises held."""

    lines: Sequence[Line]
    verdict: Verdict
    jobs: int

    @property
    def holds(self) -> bool:
        return self.verdict.holds

    @property
    def closing_line(self) -> str:
        verdict = self.verdict
        matches = "yes" if verdict.bill_matches else "no"
        line = (
            f"failpoints: places={len(self.lines)} deaths={sum(line.deaths for line in self.lines)} jobs={self.jobs}"
            f" created_twice={verdict.created_twice} lost={verdict.lost} bill_matches={matches}"
        )
        return f"{line} unexplained={verdict.unexplained!r}" if verdict.unexplained else line


def prove(
    folder: Path,
    runs: int,
    only: Sequence[str] | None,
    report: Callable[[str], None],
    database: str = "sqlite",
) -> Proof:
    """Each place of `only`, or all of them, `runs` times."""
    chosen = list(only) if only else places()
    lines: list[Line] = []
    owners: dict[str, str] = {}
    with started(folder, database, report) as running:
        for place in chosen:
            before = len(running.jobs)
            lines.append(die_at(running, place, runs))
            owners.update(dict.fromkeys(running.jobs[before:], place))
            report(f"{len(lines):>3} of {len(chosen)} {place}: {lines[-1].jobs} jobs")
        settle(running)
        count(running, lines, owners)
        reasons = evidence(running)
        resolve(running)
        ended = lambda: running.settled() and all(s in TERMINAL for s in running.states().values())  # noqa: E731
        wait_until(ended, within_s=120, what="the end of what an operator resolved")
        books = running.books()
        verdict = judge(books, bill_matches=bill_matches(running))
        for job_id in lost(books):
            report(f"lost: job {job_id} of {owners[job_id]} is {books.states.get(job_id, 'not in the ledger')}")
        table(lines, report)
        for reason, times in reasons.most_common():
            report(f"in doubt: {times} ({reason})")
        return Proof(lines, verdict, len(running.jobs))


def table(lines: Sequence[Line], report: Callable[[str], None]) -> None:
    report(f"{'place':<32} {'deaths':>6} {'jobs':>5} {'creates':>7} {'uncertain':>9}")
    for line in lines:
        report(f"{line.place:<32} {line.deaths:>6} {line.jobs:>5} {line.creates:>7} {line.uncertain:>9}")
