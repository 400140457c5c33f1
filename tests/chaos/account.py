"""The reckoning: the ledger, compared with the provider's bill, its witness, and what producers were promised.

Owns what counts as a broken promise. Pure: the books were read before (`tests.chaos.books`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from schemas.jobs import TERMINAL, State
from tasks.domain.transitions import Event
from tests.chaos.books import Attempt, Books, Row
from tests.chaos.harm import Done
from tests.chaos.orders import AMBIGUOUS, THRIFTY, Order

RESCUE_LIMIT_S: Final = 30.0
_WORK_DUE: Final = frozenset({State.ADMITTED, State.CREATING, State.DOWNLOADING, State.RECORDING})


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that was broken, by which job (empty: by none in particular)."""

    promise: str
    job_id: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    jobs: int
    lost: int
    paid_twice: int
    uncertain: int
    scripted: int
    """How many of the uncertain ones were to be: by script their create was answered ambiguously."""
    rescues: int
    rescue_p99_s: float
    bill_matches: bool
    doors: int
    """Through how many doors a job came that is completed."""
    breaches: tuple[Breach, ...]


def reckon(books: Books, harm: Sequence[Done]) -> Result:
    """Compare the books, promise by promise."""
    lost = list(_lost(books))
    twice = list(_paid_twice(books))
    money = list(_money(books))
    doubts = {job_id: row for job_id, row in books.rows.items() if any(m.event == "unknown" for m in row.moments)}
    unexplained = list(_unexplained(books, doubts, harm))
    rescues = sorted(rescue_times_s(books, harm))
    p99_s = rescues[math.ceil(len(rescues) * 0.99) - 1][0] if rescues else 0.0
    fallen = [Breach("workers", "", f"nobody killed it: {done.what}, at {done.at:%H:%M:%S}") for done in unkilled(harm)]
    slow = [
        Breach("rescue", job_id, f"went on only {waited_s:.1f} s after {what}")
        for waited_s, job_id, what in rescues[-5:]
        if p99_s > RESCUE_LIMIT_S
    ]
    return Result(
        jobs=len(books.orders),
        lost=len(lost),
        paid_twice=len(twice),
        uncertain=len(doubts),
        scripted=sum(_scripted(books, job_id) for job_id in doubts),
        rescues=len(rescues),
        rescue_p99_s=p99_s,
        bill_matches=not money,
        doors=len({order.door for job_id, order in books.orders.items() if _is_completed(books, job_id)}),
        breaches=(*lost, *twice, *money, *unexplained, *slow, *fallen),
    )


def _is_completed(books: Books, job_id: str) -> bool:
    row = books.rows.get(job_id)
    return row is not None and row.state is State.COMPLETED


def _lost(books: Books) -> Iterable[Breach]:
    for job_id in books.orders:
        row = books.rows.get(job_id)
        if row is None:
            yield Breach("lost", job_id, "its submission was confirmed, and the ledger does not know it")
        elif row.state not in TERMINAL:
            yield Breach("lost", job_id, f"it never ended: it is {row.state}")
        elif row.state is State.COMPLETED and not row.files:
            yield Breach("lost", job_id, "it is completed without a film")
        elif row.state is State.CANCELLED and not _cancelled(books, job_id):
            yield Breach("lost", job_id, "it was cancelled, and nobody asked for that")
        elif row.state is State.FAILED and (event := _failed_by(row)) not in _may_fail_by(books.orders[job_id]):
            yield Breach("lost", job_id, f"nobody made it fail: {event}, {row.error}")
        else:
            for path, size_bytes in row.files if books.store is not None else ():
                file = books.store / path
                if not file.is_file() or file.stat().st_size != size_bytes:
                    yield Breach("lost", job_id, f"its file {path} is not in the store as it was stored")
    for job_id in books.rows.keys() - books.asked.keys():
        yield Breach("lost", job_id, "nobody submitted this job")


_GIVEN_UP: Final = frozenset({Event.WRITE_OFF})
_MAY_FAIL_BY: Final = {
    "failed": _GIVEN_UP | {Event.FAILED},
    "failed-paid": _GIVEN_UP | {Event.FAILED},
    "refused": _GIVEN_UP | {Event.REJECTED},
}
"""Kind of job -> what may have made it fail. All others may only be given up by the operator."""


def _may_fail_by(order: Order) -> frozenset[Event]:
    used_up = frozenset({Event.REFUSE}) if order.tenant == THRIFTY else frozenset()
    return _MAY_FAIL_BY.get(order.kind, _GIVEN_UP) | used_up


def _failed_by(row: Row) -> str:
    return next((moment.event for moment in reversed(row.moments) if moment.state is State.FAILED), "no event")


def _cancelled(books: Books, job_id: str) -> bool:
    """Whether somebody asked to cancel the job: by its order, or in the course of the harm."""
    return bool(books.orders[job_id].cancelled_by) or job_id in books.cancelled


def _paid_twice(books: Books) -> Iterable[Breach]:
    ids = {order.mark: job_id for job_id, order in books.asked.items()}
    for mark, created in books.created.items():
        job_id = ids.get(mark, "")
        row = books.rows.get(job_id)
        asked_for = 1 if row is None else _asked_for(row)
        if len(created) > asked_for:
            yield Breach("paid_twice", job_id, f"{len(created)} creates on the bill, {asked_for} asked for: {created}")
    witnessed = {task for created in books.created.values() for task in created}
    if witnessed != set(books.billed):
        yield Breach("paid_twice", "", f"the bill and its witness differ: {sorted(witnessed ^ set(books.billed))}")


def _asked_for(row: Row) -> int:
    """How many creates a job may have on the bill.

    One, and one more each time it was created anew; but that is done only where the provider has nothing, so an attempt
    counts only when its task is known: by its answer, or because the operator found it at the provider.
    """
    anew = sum(moment.event == Event.ANEW for moment in row.moments)
    known = len({attempt.provider_task_id for attempt in row.attempts if attempt.provider_task_id is not None})
    return min(1 + anew, max(1, known))


def _money(books: Books) -> Iterable[Breach]:
    job_of = {task: mark for mark, created in books.created.items() for task in created}
    ids = {order.mark: job_id for job_id, order in books.asked.items()}
    for task in sorted(books.billed_usd.keys() | books.charged_usd.keys()):
        billed, charged = books.billed_usd.get(task), books.charged_usd.get(task)
        job_id = ids.get(job_of.get(task, ""), books.owner.get(task, ""))
        if billed != charged:
            yield Breach("bill", job_id, f"provider task {task}: billed {billed}, charged {charged}")
        elif books.owner[task] != job_id:
            yield Breach("bill", job_id, f"provider task {task} is charged to job {books.owner[task]}")


def _unexplained(books: Books, doubts: Mapping[str, Row], harm: Sequence[Done]) -> Iterable[Breach]:
    """Uncertain jobs whose create was neither answered ambiguously by script nor in flight when its worker suffered."""
    for job_id, row in doubts.items():
        scripted = _scripted(books, job_id)
        for attempt in row.attempts:
            if attempt.outcome != "unknown":
                continue
            if attempt.reason is None and attempt.http_status is None:
                yield Breach("uncertain", job_id, "its attempt has no evidence")
            elif not scripted and not any(_hurt(done, attempt) for done in harm):
                yield Breach("uncertain", job_id, f"nobody made its create ambiguous: {attempt.reason}")


def _scripted(books: Books, job_id: str) -> bool:
    order = books.asked.get(job_id)
    return order is not None and order.kind in AMBIGUOUS


_CREATE_HARM: Final = ("died create", "freeze create", "kill create")
"""What begins so was done to a worker that creates, whichever of them."""


def _hurt(done: Done, attempt: Attempt) -> bool:
    """Whether harm to the workers that create fell into the attempt; it is noticed up to a second late."""
    if not done.what.startswith(_CREATE_HARM):
        return False
    ended_at = attempt.ended_at or attempt.begun_at
    return done.at <= ended_at + timedelta(seconds=1) and done.until >= attempt.begun_at - timedelta(seconds=1)


def unkilled(harm: Sequence[Done]) -> list[Done]:
    """Workers that ended though nobody killed them: a wiped or restarted Redis must not.

    Each death needs a kill of its own, of that process or by a fuse, in the seconds before it was noticed. A fuse may
    have ended a child or an operator instead, so that a death can pass for explained; never the other way round: a kill
    that names its process explains no other death, and takes no fuse from one; of the fuses the oldest goes first.
    """
    kills = sorted((done for done in harm if not done.what.startswith(_NO_KILL)), key=lambda done: done.at)
    kills.sort(key=lambda done: not done.what.startswith("kill "))
    found = []
    for death in sorted((done for done in harm if done.what.startswith("died ")), key=lambda done: done.at):
        part = death.what.removeprefix("died ")
        if part == "valkey":
            continue  # the broker is not one of the workers
        kill = next((each for each in kills if _may_have_ended(each, part, death.at)), None)
        if kill is None:
            found.append(death)
        else:
            kills.remove(kill)
    return found


_NO_KILL: Final = ("died ", "freeze ", "wipe", "refuse", "broker ")
_NOTICED_WITHIN: Final = timedelta(seconds=12)


def _may_have_ended(kill: Done, part: str, died_at: datetime) -> bool:
    named = kill.what == f"kill {part}" if kill.what.startswith("kill ") else True
    return named and timedelta(seconds=-1) <= died_at - kill.at <= _NOTICED_WITHIN


def rescue_times_s(books: Books, harm: Sequence[Done]) -> Iterable[tuple[float, str, str]]:
    """How long work that was due when harm was done took to go on: (seconds, job, harm).

    For each piece of harm and each job that was then admitted, creating, downloading or recording, or generating with
    a provider task that had ended, or confirmed to its producer and not yet accepted: from the beginning of the harm
    until the job's next row in the timeline. A submission that a wipe took with it counts from when it was made again.
    """
    begins, ends = sorted((d.at, d.what) for d in harm if not d.what.startswith("died ")), books.ended_at
    for job_id, row in books.rows.items():
        if not row.moments:
            continue
        times = [moment.at for moment in row.moments]
        task_ends = max((end for a in row.attempts if (end := ends.get(a.provider_task_id or ""))), default=None)
        confirmed_at = books.confirmed_at.get(job_id)
        for at, what in begins:
            index = bisect_right(times, at)
            if index == 0:
                if confirmed_at is not None and confirmed_at <= at:
                    yield (times[0] - at).total_seconds(), job_id, what
                continue
            if index == len(times):
                continue
            state = row.moments[index - 1].state
            due = state is State.GENERATING and task_ends is not None and task_ends <= at
            if state in _WORK_DUE or due:
                yield (times[index] - at).total_seconds(), job_id, what
