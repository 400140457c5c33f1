"""The state machine: whatever happens to a job in whatever order, it is in a state it may be in, and paid for once.

Its model knows the design and nothing of the code: which state may follow which, how many creates each job may have
had, and what the provider's own books say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any, ClassVar, Final

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schemas.jobs import TERMINAL, State
from schemas.keys import TIMETABLE
from tasks import operating
from tasks.answering import replay
from tasks.failpoints import FAILPOINTS
from tasks.finish import download, record
from tasks.ledger import tables
from tasks.ledger.admission import open_tasks
from tasks.operating import NotPossible
from tests.model.vendor import CREATES, FETCHES, POLLS, Task
from tests.model.world import KEY, World

S: Final = State
FOLLOWERS: Final[dict[State, set[State]]] = {
    S.QUEUED: {S.ADMITTED, S.FAILED, S.CANCELLED, S.GENERATING},
    S.ADMITTED: {S.CREATING, S.QUEUED, S.FAILED, S.CANCELLED, S.GENERATING},
    S.CREATING: {S.GENERATING, S.FAILED, S.QUEUED, S.UNCERTAIN},
    S.UNCERTAIN: {S.GENERATING, S.FAILED, S.QUEUED},
    S.GENERATING: {S.DOWNLOADING, S.FAILED, S.CANCELLED, S.UNCERTAIN},
    S.DOWNLOADING: {S.RECORDING, S.FAILED, S.CANCELLED},
    S.RECORDING: {S.COMPLETED},
    S.COMPLETED: set(),
    S.CANCELLED: set(),
    S.FAILED: {S.QUEUED, S.DOWNLOADING},
}
"""What the design lets follow a state. Out of `failed` leads only what a person asks for."""
ASKED_FOR: Final = {"requeue", "refetch", "anew"}

OPEN: Final = set(State) - TERMINAL
MOST_JOBS: Final = 5
JOB: Final = st.integers(0, MOST_JOBS)
PLACES: Final = sorted(FAILPOINTS)
WRITTEN_OFF: Final = "attempt:"


def any_in(*states: State) -> Callable[[Any], bool]:
    """A precondition: there is a job in one of these states (without any: there is a job)."""
    return lambda machine: any(not states or state in states for state in machine.known.values())


class Machine(RuleBasedStateMachine):
    """Jobs, one provider key with three slots, and everything that can happen to them."""

    world: ClassVar[World]
    seen: ClassVar[Counter[str]] = Counter()
    """What happened over all examples: a run that never came to the point proves nothing."""

    @initialize(jobs=st.integers(1, MOST_JOBS - 1), ahead=st.integers(0, 2), outcome=st.sampled_from(CREATES))
    def begin(self, jobs: int, ahead: int, outcome: str) -> None:
        self.world.forget()
        self.entered: set[str] = set()
        self.anew: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.paid_off: set[str] = set()
        """Tasks that an operator wrote off as paid: nobody looks for their job again."""
        self.comebacks = 0
        self.known: dict[str, State] = {}
        """The jobs of the ledger and their states after the step before."""
        self.seen["examples"] += 1
        for _ in range(jobs):
            self.accept(None)
        if ahead:
            self.world.turn("admit")
        if ahead > 1:
            self.admit_and_create(outcome)

    def job(self, number: int, *states: State) -> str:
        """One of the jobs, mostly one in one of these states: what makes sense there is what goes wrong there."""
        wanted = [job_id for job_id, state in self.known.items() if state in states]
        chosen = wanted if wanted and number < MOST_JOBS else list(self.known)
        return chosen[number % len(chosen)]

    # --- requests ---

    @precondition(lambda self: len(self.entered) < MOST_JOBS)
    @rule(deadline=st.sampled_from([None, None, 0.001]))
    def accept(self, deadline: float | None) -> None:
        job_id = f"job-{len(self.entered) + 1}"
        self.entered.add(job_id)
        self.world.enter(job_id, **({} if deadline is None else {"deadline_s": 1}))
        # After a wipe the first turn makes the consumer group, and the second reads.
        if self.world.turn("accept") and self.world.turn("accept"):
            assert job_id in self.world.jobs()

    @precondition(any_in())
    @rule(number=JOB)
    def accept_the_same_again(self, number: int) -> None:
        before = self.world.jobs()
        self.world.enter(self.job(number))
        self.world.turn("accept")
        after = self.world.jobs()
        assert before.keys() <= after.keys() <= self.entered
        assert all(after[job_id].accepted_at == job.accepted_at for job_id, job in before.items())

    # --- the way of a job, at any time and in any order ---

    @rule(lane=st.sampled_from(["accept", "admit", "admit", "sweep"]))
    def turn(self, lane: str) -> None:
        self.world.turn(lane)

    @precondition(any_in(S.ADMITTED, S.GENERATING))
    @rule(number=JOB, outcome=st.sampled_from(CREATES))
    def create(self, number: int, outcome: str) -> None:
        self.world.create(self.job(number, S.ADMITTED), outcome)

    @precondition(any_in(S.QUEUED, S.ADMITTED))
    @rule(outcome=st.sampled_from(CREATES))
    def admit_and_create(self, outcome: str) -> None:
        self.world.turn("admit")
        for job_id, job in self.world.jobs().items():
            if job.state is S.ADMITTED:
                self.world.create(job_id, outcome)
                break

    @precondition(lambda self: bool(self.world.late))
    @rule(which=st.integers(0, 9))
    def late_answer(self, which: int) -> None:
        self.world.wake(which)
        self.seen["late answers"] += 1

    @rule()
    def replay_the_spool(self) -> None:
        self.world.alive(lambda: replay(self.world.ctx))

    @precondition(any_in(S.GENERATING))
    @rule(kind=st.sampled_from(POLLS))
    def look(self, kind: str) -> None:
        self.world.look(kind)

    @precondition(any_in(S.GENERATING))
    @rule(kind=st.sampled_from(["completed", "failed", "failed_paid", "gone"]))
    def look_twice(self, kind: str) -> None:
        self.world.look(kind)
        self.world.look(kind)

    @precondition(any_in(S.DOWNLOADING, S.RECORDING))
    @rule(number=JOB, kind=st.sampled_from(FETCHES), poll=st.sampled_from(POLLS))
    def download(self, number: int, kind: str, poll: str) -> None:
        self.world.vendor.next_fetch, self.world.vendor.next_poll = kind, "running" if poll == "breaks" else poll
        job_id = self.job(number, S.DOWNLOADING)
        self.world.alive(lambda: download(job_id))
        self.world.vendor.next_fetch, self.world.vendor.next_poll = "ok", "running"

    @precondition(any_in(S.RECORDING, S.COMPLETED))
    @rule(number=JOB)
    def record(self, number: int) -> None:
        job_id = self.job(number, S.RECORDING)
        self.world.alive(lambda: record(job_id))

    # --- what goes wrong ---

    @rule(place=st.sampled_from(PLACES))
    def die_at(self, place: str) -> None:
        self.world.arm(place)

    @rule()
    def wipe_redis(self) -> None:
        self.world.ctx.pulse.redis.flushall()

    @rule()
    def lapse(self) -> None:
        self.world.lapse()

    @rule()
    def lapse_and_sweep(self) -> None:
        self.world.lapse()
        self.world.turn("sweep")

    @rule()
    def sweep_by_policy(self) -> None:
        self.world.sweep_by_policy()

    # --- what people ask for ---

    @precondition(any_in())
    @rule(number=JOB)
    def cancel(self, number: int) -> None:
        self.ask(self.job(number, *OPEN), lambda job_id: operating.cancel(self.world.ctx, job_id))

    @precondition(any_in(S.FAILED, S.CANCELLED))
    @rule(number=JOB, anew=st.booleans())
    def retry(self, number: int, anew: bool) -> None:
        self.ask(self.job(number, S.FAILED), lambda job_id: operating.retry(self.world.ctx, job_id, anew=anew), anew)

    @precondition(any_in())
    @rule(number=JOB, command=st.sampled_from(["cancel", "retry", "anew"]))
    def send_command(self, number: int, command: str) -> None:
        """What a producer's handle sends; done by the next turns of the lane, however often it is read."""
        job_id = self.job(number, S.FAILED, *OPEN)
        self.asked[job_id] += command == "anew"
        self.world.command(job_id, command)

    @precondition(any_in(S.UNCERTAIN))
    @rule(number=JOB, which=st.integers(0, 9), kind=st.sampled_from(["running", "completed", "gone", "nothing"]))
    def bind(self, number: int, which: int, kind: str) -> None:
        """With the id of a task that the provider has for this job, or that another job has, or nobody."""
        job_id = self.job(number, S.UNCERTAIN)
        tasks = self.unnamed(job_id) or sorted(self.named())
        task_id = tasks[which % len(tasks)] if tasks else "task-of-nobody"
        self.world.vendor.next_poll = kind
        self.ask(job_id, lambda job: operating.bind(self.world.ctx, job, task_id))
        self.world.vendor.next_poll = "running"

    @precondition(any_in(S.UNCERTAIN))
    @rule(number=JOB)
    def write_off(self, number: int) -> None:
        """By an operator who has asked the provider for its books, and says what they say."""
        job_id = self.job(number, S.UNCERTAIN)
        self.ask(job_id, lambda job: operating.write_off(self.world.ctx, job, self.what_was_paid(job)))

    @precondition(any_in(S.UNCERTAIN))
    @rule(number=JOB)
    def create_anew(self, number: int) -> None:
        self.ask(self.job(number, S.UNCERTAIN), lambda job_id: operating.create_anew(self.world.ctx, job_id), True)

    def what_was_paid(self, job_id: str) -> Decimal | None:
        """What the provider's books say of the job's tasks whose id we were never given, or of the one it lost."""
        job = self.world.jobs()[job_id]
        vendor = self.world.vendor
        unnamed = self.unnamed(job_id)
        found = [job.provider_task_id] if job.provider_task_id else unnamed[-1:]
        for task_id in found:
            self.paid_off.add(task_id)
            task = vendor.tasks[task_id]
            if task.cost is None:
                vendor.end(task)
            return task.cost or None
        return None

    def unnamed(self, job_id: str) -> list[str]:
        """What stands in the provider's books for this job, and neither in the ledger nor as paid in an operator's."""
        known = self.named() | self.paid_off
        return [task.id for task in self.world.vendor.made_for(job_id) if task.id not in known]

    def ask(self, job_id: str, act: Any, anew: bool = False) -> None:
        before = self.world.jobs()[job_id]
        self.asked[job_id] += anew
        try:
            if self.world.alive(lambda: act(job_id)):
                self.seen["asked for"] += 1
        except NotPossible:
            self.seen["not possible"] += 1
            self.asked[job_id] -= anew
            assert self.world.jobs()[job_id] == before

    # --- what holds at any time ---

    def named(self) -> set[str]:
        """The provider tasks that the ledger knows by name."""
        rows = [*self.world.rows(tables.attempts), *self.world.rows(tables.jobs)]
        return {row.provider_task_id for row in rows if row.provider_task_id is not None}

    @invariant()
    def promises_hold(self) -> None:
        if hasattr(self, "entered"):  # not before `begin`
            self.every_job_went_a_way_that_there_is()
            self.no_job_is_created_more_often_than_somebody_asked_for()
            self.every_charge_stands_on_the_bill()
            self.no_more_slots_are_used_than_there_are()
            self.nobody_creates_what_was_cancelled()

    def every_job_went_a_way_that_there_is(self) -> None:
        ways: dict[str, list[Any]] = {}
        for row in sorted(self.world.rows(tables.timeline), key=lambda row: (row.job_id, row.seq)):
            ways.setdefault(row.job_id, []).append(row)
        jobs = self.world.jobs()
        assert self.known.keys() <= jobs.keys(), "a job is gone"
        self.known = {job_id: job.state for job_id, job in jobs.items()}
        self.comebacks = 0
        assert ways.keys() == jobs.keys()
        for job_id, way in ways.items():
            assert (way[0].event, way[0].state) == ("accept", S.QUEUED)
            assert [row.seq for row in way] == list(range(1, len(way) + 1))
            assert (way[-1].seq, way[-1].state) == (jobs[job_id].version, jobs[job_id].state)
            for before, after in pairwise(way):
                assert after.state in FOLLOWERS[before.state], f"{before.state} -> {after.state}"
                assert before.state not in TERMINAL or after.event in ASKED_FOR
                self.comebacks += (before.state, after.state) == (S.QUEUED, S.GENERATING)
            self.anew[job_id] = sum(1 for row in way if row.event == "anew")
            by_policy = sum(1 for row in way if row.event == "anew" and row.detail["by"] == "policy")
            assert self.anew[job_id] - by_policy <= self.asked[job_id], f"{job_id} is created anew unasked"

    def no_job_is_created_more_often_than_somebody_asked_for(self) -> None:
        for job_id in self.entered:
            made = self.world.vendor.possible_creates(job_id)
            assert made <= 1 + self.anew[job_id], f"{job_id}: {made} creates, {self.anew[job_id]} asked for again"

    def every_charge_stands_on_the_bill(self) -> None:
        for row in self.world.rows(tables.charges):
            if row.provider_task_id.startswith(WRITTEN_OFF):
                assert row.estimated
                continue
            task = self.world.vendor.tasks[row.provider_task_id]
            assert task.cost == row.amount_usd, f"{task} is charged {row.amount_usd}"
            assert task.job_id == row.job_id

    def no_more_slots_are_used_than_there_are(self) -> None:
        used = Counter(
            job.key_alias
            for job in self.world.jobs().values()
            if job.state in (S.ADMITTED, S.CREATING, S.UNCERTAIN, S.GENERATING)
        )
        # An answer that comes when another create was asked for finds its slot given away, and holds one all the same.
        assert used[KEY] <= 3 + self.comebacks

    def nobody_creates_what_was_cancelled(self) -> None:
        for job in self.world.jobs().values():
            assert job.cancel_requested_at is None or job.state not in (S.QUEUED, S.ADMITTED), f"{job.id} waits"

    # --- what holds in the end ---

    def teardown(self) -> None:
        if not hasattr(self, "entered"):
            return
        self.world.disarm()
        for _ in range(60):
            if self.quiet():
                break
            self.go_on()
        jobs = self.world.jobs()
        left = {job_id: job.state for job_id, job in jobs.items() if job.state not in TERMINAL}
        assert not left, f"these never ended: {left}"
        assert self.quiet()
        with self.world.ctx.ledger.read() as tx:
            assert not any(each.tasks for each in open_tasks(tx, self.world.ctx.policy.uncertain_slot_s))
        self.promises_hold()
        self.every_billed_task_is_charged_once(jobs)
        self.count(jobs)

    def quiet(self) -> bool:
        redis, ended = self.world.ctx.pulse.redis, all(job.state in TERMINAL for job in self.world.jobs().values())
        unsettled = any(row.settle_at is not None for row in self.world.rows(tables.attempts))
        waiting = self.world.ctx.spool.waiting() or self.world.late
        return ended and not unsettled and not waiting and not redis.zcard(TIMETABLE)

    def go_on(self) -> None:
        """Everybody does their work, and an operator what is left for a person."""
        world = self.world
        while world.late:
            world.wake(0)
        replay(world.ctx)
        world.lapse()
        world.turn("accept")
        world.turn("admit")
        for job_id, job in world.jobs().items():
            if job.state is S.ADMITTED:
                world.create(job_id, "accepted")
            if job.state is S.UNCERTAIN:
                self.resolve(job_id)
        world.lapse()
        world.vendor.next_poll = "completed"
        world.turn("sweep")
        world.look("completed")
        for job_id in world.jobs():
            world.vendor.next_poll = "completed"
            download(job_id)
            record(job_id)

    def resolve(self, job_id: str) -> None:
        job = self.world.jobs()[job_id]
        for task_id in [*([job.provider_task_id] if job.provider_task_id else []), *reversed(self.unnamed(job_id))]:
            operating.bind(self.world.ctx, job_id, task_id)
            return
        operating.write_off(self.world.ctx, job_id, None)

    def every_billed_task_is_charged_once(self, jobs: Any) -> None:
        charges = self.world.rows(tables.charges)
        charged = {row.provider_task_id: row for row in charges}
        attempts = self.world.rows(tables.attempts)
        for job_id in jobs:
            billed = [task for task in self.world.vendor.made_for(job_id) if task.cost or task.id in self.named()]
            unknown = [task for task in billed if task.id not in self.named()]
            for task in billed:
                if task in unknown:
                    continue
                self.check_charge(task, charged.get(task.id))
            # What nobody ever named is paid for in doubt: an attempt of unknown outcome stands for each of them.
            doubtful = sum(
                1 for row in attempts if row.job_id == job_id and row.outcome == "unknown" and not row.provider_task_id
            )
            assert len(unknown) <= doubtful
            written_off = [row for row in charges if row.job_id == job_id and row.provider_task_id not in self.named()]
            assert len(written_off) <= len(unknown), f"{job_id} is charged for what was never made"

    def check_charge(self, task: Task, row: Any) -> None:
        assert task.cost is not None, f"{task} is known by name and was never followed to its end"
        if not task.cost:
            assert row is None
            return
        assert row is not None, f"{task} was never charged"
        assert row.amount_usd == task.cost
        assert not (row.estimated and task.priced and not self.was_written_off(task)), f"{task} is charged as a guess"

    def was_written_off(self, task: Task) -> bool:
        return any(row.job_id == task.job_id and row.event == "write_off" for row in self.world.rows(tables.timeline))

    def count(self, jobs: Any) -> None:
        self.seen["jobs"] += len(jobs)
        self.seen["creates"] += len(self.world.vendor.tasks)
        self.seen["posts"] += len(self.world.vendor.posts)
        for row in self.world.rows(tables.timeline):
            self.seen[row.event] += 1
