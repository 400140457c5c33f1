"""What to do about the provider's answer to a poll, as a value: look again, finish, or fail. Pure.

A poll never fails a job by itself: only the provider's own final word does.
"""

from __future__ import annotations

from dataclasses import dataclass

from .answers import Completed, Failed, LookAgain, NotFound, PollAnswer, Running
from .knowledge import Known
from .polling import PollPolicy, next_look_s


@dataclass(frozen=True, slots=True)
class PollAgain:
    """Look again in `delay_s` seconds. `alarm` names what a person should know about, if anything.

    `misses` is how many looks in a row have said nothing by now; `missing`: this one said that there is no such task.
    """

    delay_s: float
    progress: float | None = None
    alarm: str | None = None
    misses: int = 0
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """The task is completed: commit this answer, then fetch what it names."""

    answer: Completed


@dataclass(frozen=True, slots=True)
class Fail:
    """The provider failed the task."""

    answer: Failed


@dataclass(frozen=True, slots=True)
class Lose:
    """The provider has said for too long that it has no such task: park the job, and let a person look into it."""


Decision = PollAgain | Finish | Fail | Lose


def decide(
    answer: PollAnswer,
    policy: PollPolicy,
    *,
    age_s: float,
    polls: int,
    spread: float,
    misses: int = 0,
    missing_s: float | None = None,
    known: Known | None = None,
    progress: float | None = None,
    slowed: float = 1.0,
) -> Decision:
    """The decision on an answer.

    The parameters are those of `polling.next_look_s`, `polls` counting this look and `misses` those before it.
    `missing_s`: for how long the provider has been saying that it has no such task; `None` if it was not by now.
    `progress`: what it reported at the look before this one.
    """

    def again(
        alarm: str | None,
        *,
        reported: float | None = None,
        missed: int = 0,
        missing: bool = False,
        retry_after_s: float | None = None,
    ) -> PollAgain:
        rising = reported is not None and (progress is None or reported > progress)
        delay_s = next_look_s(
            policy,
            age_s=age_s,
            polls=polls,
            retry_after_s=retry_after_s,
            spread=spread,
            misses=missed,
            known=known,
            progress=reported if rising else None,
            slowed=slowed,
        )
        return PollAgain(delay_s, reported, alarm, missed, missing)

    match answer:
        case Completed():
            return Finish(answer)
        case Failed():
            return Fail(answer)
        case Running(reported, status_known):
            return again(None if status_known else "unknown_status", reported=reported)
        case NotFound():
            if missing_s is not None and missing_s >= policy.lost_after_s:
                return Lose()
            return again("provider_task_not_found", missed=misses + 1, missing=True)
        case LookAgain(reason, retry_after_s, key_refused):
            return again("key_refused" if key_refused else reason, missed=misses + 1, retry_after_s=retry_after_s)
