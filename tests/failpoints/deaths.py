"""Every place a process can die at, so and so often: what each death leaves behind, place by place."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from schemas.jobs import State
from tasks.failpoints import FAILPOINTS
from tasks.ledger import tables
from tests.failpoints.stack import Stack
from tests.support.waiting import wait_until

PATIENCE_S: Final = 90.0
"""How long a place may take to be passed once: a worker starts, leases run out, a job goes its way."""
NEXT_JOB_S: Final = 5.0
COMPLETED: Final = frozenset({State.COMPLETED})
CANCELLED_OR_NOT: Final = COMPLETED | {State.CANCELLED}
"""How a job ends while whose cancelling somebody dies."""
COMPLETED_OR_FAILED: Final = COMPLETED | {State.FAILED}

HELPERS: Final = {
    # Only a job that somebody dropped is rescued, and only one that somebody was creating is parked.
    "sweep.rescue": "record.before_commit",
    "record.before_publish": "record.before_commit",
    "record.after_publish": "record.before_commit",
    "sweep.park": "create.before_post",
    # A lane is seeded when its last message went with a worker.
    "seed.": "lane.before_publish",
}
"""Where another process has to have died, that a place is passed at all."""


@dataclass
class Line:
    """What came of one place."""

    place: str
    deaths: int
    jobs: int
    creates: int = 0
    uncertain: int = 0


def places() -> list[str]:
    return sorted(FAILPOINTS)


def die_at(stack: Stack, place: str, runs: int) -> Line:
    """Have a process die at a place `runs` times, with jobs under way."""
    if place.endswith("_post"):
        settle(stack)  # so that it is a job of this place that is left in doubt
    before = len(stack.jobs)
    for _ in range(runs):
        _die_once(stack, place)
    stack.take_away()
    return Line(place, runs, len(stack.jobs) - before)


def _die_once(stack: Stack, place: str) -> None:
    way = next((act for begin, act in WAYS.items() if place.startswith(begin)), None)
    if way is not None:
        way(stack, place)
        return
    what = next((word for begin, word in CHILDREN.items() if place.startswith(begin)), None)
    if what is not None:
        died = lambda: _create_in_child(stack, place, what) == -signal.SIGKILL  # noqa: E731
        wait_until(died, within_s=PATIENCE_S, what=f"a death at {place}")
        return
    if place.startswith("operate."):
        wait_until(lambda: _die_cancelling(stack, place), within_s=PATIENCE_S, what=f"a death at {place}")
        return
    stack.lay(place)
    _submit_until(stack, place, lambda: stack.burnt(place))
    stack.take_away()


def _submit_until(stack: Stack, place: str, done: Callable[[], bool]) -> None:
    helper = next((help_at for what, help_at in HELPERS.items() if place.startswith(what)), None)
    ends_at = time.monotonic() + PATIENCE_S
    while not done():
        stack.embedded.check()
        if time.monotonic() > ends_at:
            raise AssertionError(f"nobody came by {place} within {PATIENCE_S:g} s")
        if helper is not None:
            stack.lay(helper)  # for each job anew: a message that came twice may die there with nothing left to do
        job_id = stack.submit(
            prompt=_prompt(place),
            picture=place.startswith(_WITH_PICTURES),
            tells=place.startswith("notify."),
            ends=_ends(place),
        )
        if place.startswith("command."):
            stack.producer.handle(job_id).cancel()
        again_at = time.monotonic() + (3 * NEXT_JOB_S if place.startswith("sweep.park") else NEXT_JOB_S)
        while not done() and time.monotonic() < again_at:
            time.sleep(0.02)


_WITH_PICTURES: Final = ("input.", "create.claim.")


def _prompt(place: str) -> str:
    """What the scenario of the stack knows such a job by."""
    if "given_back" in place:
        return "brittle"
    if place.startswith("download.re"):
        return "expired" if "refreshed" in place else "stuck"
    return "slow" if place.startswith("command.") else ""


def _ends(place: str) -> frozenset[State]:
    """How a job of `_prompt` may end."""
    return CANCELLED_OR_NOT if place.startswith("command.") else COMPLETED


def _die_cancelling(stack: Stack, place: str) -> bool:
    job_id = stack.submit(prompt="slow", ends=CANCELLED_OR_NOT)
    wait_until(lambda: stack.states().get(job_id) is State.GENERATING, within_s=PATIENCE_S, what="a job to cancel")
    return stack.child(place, "cancel", job_id) == -signal.SIGKILL


CHILDREN: Final = {"spool.": "spool", "given_back.": "give_back", "create.refused.": "refuse", "create.back.": "back"}
"""Places that a worker seldom comes by -> what `tests.failpoints.child` does to come by."""


def _create_in_child(stack: Stack, place: str, what: str) -> int:
    settle(stack)  # stopped within a transaction, a worker would keep SQLite's only lock
    with stack.stopped("create"):
        job_id = stack.submit(ends=COMPLETED_OR_FAILED if what in ("refuse", "stray") else COMPLETED)
        wait_until(lambda: stack.states().get(job_id) is State.ADMITTED, within_s=PATIENCE_S, what="an admitted job")
        return stack.child(place, what, job_id)


def _die_settling(stack: Stack, place: str) -> None:
    stack.lay(place)
    strayed = lambda: _create_in_child(stack, place, "stray") == 0  # noqa: E731
    wait_until(strayed, within_s=PATIENCE_S, what="a task that no job follows")
    _wait_for_death(stack, place)


def _die_refilling(stack: Stack, place: str) -> None:
    settle(stack)  # what is only in Redis is lost with it, and nobody here submits it again
    stack.lay(place)
    stack.wipe()
    _wait_for_death(stack, place)


def _die_putting_aside(stack: Stack, place: str) -> None:
    job_id = stack.submit()
    wait_until(lambda: stack.states().get(job_id) is State.COMPLETED, within_s=PATIENCE_S, what="a job that has ended")
    stack.lay(place)
    stack.producer.handle(job_id).cancel()
    _wait_for_death(stack, place)


def _die_setting_aside(stack: Stack, place: str) -> None:
    stack.lay(place)
    stack.ctx.spool.keep("unreadable", {})
    _wait_for_death(stack, place)


def _wait_for_death(stack: Stack, place: str) -> None:
    wait_until(lambda: stack.burnt(place), within_s=PATIENCE_S, what=f"a death at {place}")


WAYS: Final[dict[str, Callable[[Stack, str], None]]] = {
    "settle.": _die_settling,
    "sweep.refill.": _die_refilling,
    "command.put_aside.": _die_putting_aside,
    "set_aside.": _die_setting_aside,
}
"""Places that need more than a job on its way -> how a death there comes about."""


def settle(stack: Stack) -> dict[str, State]:
    """Wait until nothing is left but what a person has to decide; gives the jobs' states."""
    wait_until(stack.settled, within_s=2 * PATIENCE_S, what="the end of all jobs")
    return stack.states()


def count(stack: Stack, lines: list[Line], owners: dict[str, str]) -> None:
    """Count creates and jobs in doubt into `lines`. `owners`: place of each job."""
    by_place, books = {line.place: line for line in lines}, stack.books()
    for job_id, tasks in books.created.items():
        if job_id in owners:
            by_place[owners[job_id]].creates += len(tasks)
    for job_id, state in books.states.items():
        by_place[owners[job_id]].uncertain += state is State.UNCERTAIN


def evidence(stack: Stack) -> Counter[str]:
    """Why creates are in doubt, and how many."""
    doubtful = [row for row in stack.rows(tables.attempts) if row.outcome == "unknown"]
    return Counter(row.reason or "no evidence" for row in doubtful)


def bill_matches(stack: Stack) -> bool:
    """Whether the charges are what the provider billed, task by task."""
    charged = {row.provider_task_id: row.amount_usd for row in stack.rows(tables.charges)}
    return charged == {task: cost for task, cost in stack.bill.usd_by_task.items() if cost}
