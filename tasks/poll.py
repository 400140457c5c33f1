"""Lane poll: claims what is due, asks the provider for each, and sets each one's next look.

While a task is in progress nothing is written to the ledger; only the provider's final word is (`tasks.ending`).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from schemas.jobs import State
from tasks.context import Context
from tasks.domain.answers import Completed, LookAgain, PollAnswer
from tasks.domain.figures import DETECTION_S, GENERATION_S, LOOK_LATE_S, REQUESTS, outcome_of
from tasks.domain.knowledge import Known
from tasks.domain.looking import Decision, PollAgain, decide
from tasks.domain.polling import PollPolicy
from tasks.ending import end
from tasks.failpoints import failpoint
from tasks.lanes import lane, leave_to_others
from tasks.ledger import LedgerError
from tasks.ledger.jobs import get_many
from tasks.pulse import PulseError
from tasks.pulse.timetable import Due, NextLook
from tasks.schedule import known_of, patience, pressure_on, slow_down, timetable_entry
from tasks.vtrix.asking import Look

log = structlog.get_logger("reelworks.poll")

_GATHER_S: Final = 0.1
"""Once not all that was asked for was due, what falls due within so long is left to come together: a claim costs as
much as several looks, and a turn as much as dozens."""

_LINGER_S: Final = 0.5
"""So long after it has claimed its last a turn waits for answers. Those that are longer in coming, at most for the
deadline of a poll, are worked by another thread: they are to hold up no look that is due."""

_DEAF_S: Final = 15.0
"""So long a process that heard nothing leaves the lane to others, where there are any, before it tries again."""

_KEY_NOT_CONFIGURED: Final[PollAnswer] = LookAgain("key_not_configured", key_refused=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Look(Look):
    """A look, and what was claimed for it."""

    due: Due


_Answered = Sequence[tuple[_Look, PollAnswer | Exception]]


@lane("poll")
def poll(ctx: Context) -> float:
    """Look at the provider tasks that are due: whatever is claimed is asked about at once, and none waits."""
    claims = _Claims(ctx)
    answers = ctx.asker.ask_many(claims.claim, ctx.policy.poll_batch)
    heard = silent = False
    for answered in answers:
        _work(ctx, answered)
        heard = heard or not all(_says_nothing(answer) for _, answer in answered)
        if answered and not heard:
            silent = True  # it may be this host alone that does not reach the provider: let another have the lane
            claims.end()
            leave_to_others("poll", _DEAF_S)
        # Only what a whole turn left is late: turns cut short would pile up what none of them waited for.
        if not silent and claims.over_for_s() > _LINGER_S:
            ctx.threads.submit(_work_late, ctx, answers)
            return 0.0
    next_s = ctx.pulse.timetable.next_due_in_s()
    return ctx.policy.lane_idle_s if next_s is None else min(max(next_s, _GATHER_S), ctx.policy.lane_idle_s)


class _Claims:
    """What a turn claims. It goes on while there is something to ask, but for no longer than a lease lasts: by then
    all that the turn before left to another thread has its answer, and few are under way besides its own.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._over_at = time.monotonic() + ctx.policy.poll_lease_s
        self._next_at = 0.0

    def over_for_s(self) -> float:
        """Since when the turn claims no more."""
        return time.monotonic() - self._over_at

    def end(self) -> None:
        """Claim no more in this turn."""
        self._over_at = min(self._over_at, time.monotonic())

    def claim(self, room: int) -> Sequence[_Look]:
        """Claim up to so many of those that are due, and may be asked about."""
        looks: list[_Look] = []
        while not looks and self._next_at <= time.monotonic() < self._over_at:
            failpoint("poll.before_claim")
            due, unknown = self._ctx.pulse.timetable.claim_due(self._ctx.policy.poll_lease_s, room)
            failpoint("poll.after_claim")
            if len(due) + len(unknown) < room:
                self._next_at = time.monotonic() + _GATHER_S
            _look_up(self._ctx, unknown)
            looks = _askable(self._ctx, _without_resting(self._ctx, due))
        return looks


def _says_nothing(answer: PollAnswer | Exception) -> bool:
    return isinstance(answer, LookAgain | Exception)


def _work_late(ctx: Context, answers: Iterator[_Answered]) -> None:
    try:
        for answered in answers:
            _work(ctx, answered)
    except (LedgerError, PulseError) as error:  # what was claimed falls due again
        log.warning("late_answers_lost", error=type(error).__name__)
    except Exception:
        log.exception("late_answers_lost")


def _askable(ctx: Context, due: Sequence[Due]) -> list[_Look]:
    looks, refused = [], []
    for each in due:
        provider = ctx.providers.get(each.noted.key_alias)
        if provider is None:
            refused.append((each, _KEY_NOT_CONFIGURED))
        else:
            looks.append(_Look(provider, each.noted.provider_task_id, each))
    _decide_all(ctx, refused)
    return looks


def _work(ctx: Context, answered: _Answered) -> None:
    _decide_all(ctx, [(look.due, _taken(look.due, answer)) for look, answer in answered])


def _taken(due: Due, answer: PollAnswer | Exception) -> PollAnswer:
    if not isinstance(answer, Exception):
        return answer
    # One answer that our own code can't take must not hold up the others that were claimed with it.
    log.error("poll_failed", job_id=due.job_id, exc_info=answer)
    return LookAgain(type(answer).__name__)


def _without_resting(ctx: Context, due: Sequence[Due]) -> list[Due]:
    """Those that may be asked about. The tasks of a key that the provider wants to hear nothing of are put back."""
    going, resting = [], []
    for each in due:
        rest_s = pressure_on(ctx, each.noted.key_alias).rest_s
        if rest_s > 0:
            spread_s = random.random() * ctx.policy.poll.interval_s  # noqa: S311 (as below)
            resting.append(NextLook(each, rest_s + spread_s, counted=False))
        else:
            going.append(each)
    ctx.pulse.timetable.put_back(resting)
    return going


def _heed(ctx: Context, answered: Sequence[tuple[Due, PollAnswer]]) -> None:
    """Slow all looks of a key down of which the provider has had too many requests, once for all that were told so."""
    rests: dict[str, float] = {}
    for due, answer in answered:
        if isinstance(answer, LookAgain) and answer.throttled:
            alias = due.noted.key_alias
            rests[alias] = max(rests.get(alias, 0.0), answer.retry_after_s or 0.0)
    for alias, rest_s in rests.items():
        # The look that was told so waits for as long as it was told; one answer does not silence a key for an hour.
        slow_down(ctx, alias, min(rest_s, ctx.policy.poll.overdue_interval_s))


def _count(ctx: Context, answered: Sequence[tuple[Due, PollAnswer]]) -> None:
    """All that came together at once: by themselves they would take a tenth of what a look costs."""
    tally = ctx.pulse.tally
    asked = [(due, answer) for due, answer in answered if answer is not _KEY_NOT_CONFIGURED]
    tally.took(LOOK_LATE_S, [due.late_s for due, _ in asked])
    for (alias, outcome), number in Counter((due.noted.key_alias, outcome_of(answer)) for due, answer in asked).items():
        tally.add(REQUESTS, "poll", alias, outcome, amount=number)
    for due, answer in asked:
        if isinstance(answer, Completed) and answer.took_s is not None and due.kind is not None:
            tally.took(GENERATION_S, [answer.took_s], due.kind.model)
            tally.took(DETECTION_S, [due.age_now_s - answer.took_s], due.kind.model)


def _decide_all(ctx: Context, answered: Sequence[tuple[Due, PollAnswer]]) -> None:
    if not answered:
        return
    _count(ctx, answered)
    _heed(ctx, answered)
    known = {kind: known_of(ctx, kind) for kind in {each.kind for each, _ in answered}}
    aliases, left_alone = {each.noted.key_alias for each, _ in answered}, patience(ctx)
    slowed = {alias: pressure_on(ctx, alias).slowed * left_alone for alias in aliases}
    decisions = [
        (each, _decide(ctx.policy.poll, each, answer, known[each.kind], slowed[each.noted.key_alias]))
        for each, answer in answered
    ]
    failpoint("poll.before_put_back")
    ctx.pulse.timetable.put_back(
        [
            NextLook(each, d.delay_s, d.progress, d.misses, d.missing, None if d.misses else each.age_s)
            for each, d in decisions
            if isinstance(d, PollAgain)
        ]
    )
    failpoint("poll.after_put_back")
    end(ctx, [(each, d) for each, d in decisions if not isinstance(d, PollAgain)])


def _decide(policy: PollPolicy, due: Due, answer: PollAnswer, known: Known | None, slowed: float) -> Decision:
    decision = decide(
        answer,
        policy,
        age_s=due.age_now_s,
        polls=due.noted.polls + 1,
        misses=due.noted.misses,
        missing_s=due.missing_s,
        spread=random.random(),  # noqa: S311 (spreads load, hides nothing)
        known=known,
        progress=due.noted.progress_then,
        slowed=slowed,
    )
    if isinstance(decision, PollAgain) and decision.alarm:
        log.warning("poll_said_nothing", job_id=due.job_id, key=due.noted.key_alias, reason=decision.alarm)
    return decision


def _look_up(ctx: Context, job_ids: Sequence[str]) -> None:
    """Repair entries of which nothing is known: made anew from the ledger, or taken off when nobody needs to look."""
    if not job_ids:
        return
    with ctx.ledger.read() as tx:
        generating = [job for job in get_many(tx, job_ids) if job.state is State.GENERATING]
        now = tx.now
    ctx.pulse.timetable.drop(job_ids)
    ctx.pulse.timetable.schedule([timetable_entry(ctx, job, now) for job in generating])
