"""The books of a run of deaths, and what they say: which promise was broken, by how many jobs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.jobs import State

UNSENT: Final = frozenset({"unsent", "throttled", "key_refused", "rejected"})


@dataclass(frozen=True)
class Books:
    """What is compared. `ends`: how each submitted job may end. `created`: by the provider's witness, the tasks of each
    job, those of nobody under the empty id. `attempts`: the ledger's rows. `films`: the job of each stored output.
    `owed`: the ids of the webhooks, `told`: of those that their receiver has taken, once for each time."""

    ends: Mapping[str, frozenset[State]]
    states: Mapping[str, State]
    attempts: Sequence[Any]
    films: Sequence[str]
    owed: Sequence[str]
    told: Sequence[str]
    created: Mapping[str, Sequence[str]]
    billed: Sequence[str]


@dataclass(frozen=True)
class Verdict:
    """What the bill and the ledger say in the end."""

    created_twice: int
    lost: int
    bill_matches: bool
    unexplained: str = ""

    @property
    def holds(self) -> bool:
        return not self.created_twice and not self.lost and self.bill_matches and not self.unexplained


def judge(books: Books, *, bill_matches: bool) -> Verdict:
    """What became of the jobs, once all have ended. `bill_matches`: whether the charges are what was billed."""
    begun = Counter(row.job_id for row in books.attempts if row.outcome not in UNSENT)
    twice = {job_id for job_id, count in begun.items() if count > 1}
    twice |= {job_id for job_id, tasks in books.created.items() if len(tasks) > 1}
    return Verdict(len(twice), len(lost(books)), bill_matches, _unexplained(books))


def lost(books: Books) -> list[str]:
    """Jobs that are not in the ledger, or ended as they were not to."""
    return [job_id for job_id in books.ends if _is_lost(books, job_id)]


def _is_lost(books: Books, job_id: str) -> bool:
    state = books.states.get(job_id)
    return state not in books.ends[job_id] or (state is State.COMPLETED and job_id not in books.films)


def _unexplained(books: Books) -> str:
    strangers = sorted(books.created.get("", ()))
    if strangers:
        return f"on the bill, and nobody asked for it: {strangers}"
    differing = {task for tasks in books.created.values() for task in tasks} ^ set(books.billed)
    if differing:
        return f"the bill and its witness differ: {sorted(differing)}"
    untold = set(books.owed) - set(books.told)
    if untold:
        return f"{len(untold)} webhooks never came"
    without = [row.job_id for row in books.attempts if row.outcome == "unknown" and not row.reason]
    return f"{len(without)} creates of unknown outcome without evidence" if without else ""
