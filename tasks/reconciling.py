"""Compares the ledger with the provider, task by task: what is open, in doubt, not charged, or charged by an estimate.

Only reads, unless it is told to mend; then it changes what a poll of the provider proves, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

import structlog

from schemas.jobs import TERMINAL, State
from tasks.charging import charge_task
from tasks.context import Context
from tasks.domain.answers import Completed, Failed, LookAgain, NotFound, PollAnswer, Running, Usage
from tasks.ledger.doubts import TaskOfOurs, tasks_to_compare
from tasks.ledger.jobs import get
from tasks.ledger.money import correct_estimate, settled
from tasks.operating import NotPossible, bind
from tasks.settling import ask

log = structlog.get_logger("reelworks.money")


@dataclass(frozen=True, slots=True)
class Difference:
    """Where ledger and provider do not say the same of a task. `missing_usd` is what the ledger charges too little."""

    job_id: str
    provider_task_id: str
    key_alias: str | None
    ledger: str
    provider: str
    missing_usd: Decimal | None = None
    mended: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many provider tasks were asked about, and where the two differ."""

    asked: int
    differences: tuple[Difference, ...]


def reconcile(ctx: Context, since: datetime | None = None, *, mend: bool = False) -> Comparison:
    """Ask the provider about every task that is open or doubtful, and compare. With `mend`, charge what is missing,
    correct estimates, and take lost tasks up again that the provider knows after all."""
    with ctx.ledger.read() as tx:
        tasks = tasks_to_compare(tx, since)
    answers = list(ctx.threads.map(lambda task: ask(ctx, task.key_alias or "", task.provider_task_id), tasks))
    differences = []
    for task, answer in zip(tasks, answers, strict=True):
        difference = _compare(task, answer)
        if difference is not None:
            differences.append(replace(difference, mended=_mend(ctx, task, answer)) if mend else difference)
    return Comparison(sum(answer is not None for answer in answers), tuple(differences))


def _compare(task: TaskOfOurs, answer: PollAnswer | None) -> Difference | None:
    ours = _ledger_says(task)
    says = Difference(task.job_id, task.provider_task_id, task.key_alias, ours, _provider_says(answer))
    match answer:
        case Completed(usage=usage) | Failed(usage=usage):
            missing_usd = _missing_usd(task, usage)
            # A job that is on its way charges by itself.
            on_its_way = task.attempt_id is None and task.state in _ON_ITS_WAY
            if task.state is State.UNCERTAIN or (missing_usd and not on_its_way):
                return replace(says, missing_usd=missing_usd)
            return None
        case Running():
            return says if task.state in TERMINAL | {State.UNCERTAIN} else None
        case _:
            return says


_ON_ITS_WAY: Final = frozenset({State.GENERATING, State.DOWNLOADING, State.RECORDING})


def _missing_usd(task: TaskOfOurs, usage: Usage) -> Decimal | None:
    if usage.cost_usd is None:
        return None
    return usage.cost_usd - (task.charged_usd or Decimal(0))


def _ledger_says(task: TaskOfOurs) -> str:
    charged = "not charged" if task.charged_usd is None else f"charged ${task.charged_usd}"
    if task.estimated:
        charged += " (estimated)"
    return f"{'no job follows it' if task.attempt_id else task.state}, {charged}"


def _provider_says(answer: PollAnswer | None) -> str:
    match answer:
        case Completed(usage=usage) | Failed(usage=usage):
            word = "completed" if isinstance(answer, Completed) else "failed"
            return word if usage.cost_usd is None else f"{word}, cost ${usage.cost_usd}"
        case Running():
            return "in progress"
        case NotFound():
            return "no such task"
        case LookAgain(reason):
            return f"no answer ({reason})"
        case None:
            return "not asked: its key is not configured here"


def _mend(ctx: Context, task: TaskOfOurs, answer: PollAnswer | None) -> bool:
    if task.state is State.UNCERTAIN and task.attempt_id is None:
        if not isinstance(answer, Completed | Failed | Running):
            return False
        try:
            bind(ctx, task.job_id, task.provider_task_id)
        except NotPossible:
            return False
        return True
    if not isinstance(answer, Completed | Failed):
        return False
    with ctx.ledger.begin("operate") as tx:
        job = get(tx, task.job_id)
        if job is None:
            return False
        paid = replace(job, provider_task_id=task.provider_task_id, key_alias=task.key_alias)
        if task.estimated and answer.usage.cost_usd is not None:
            correct_estimate(tx, task.provider_task_id, answer.usage.cost_usd, answer.usage.raw)
        else:
            charge_task(tx, paid, answer.usage, answer.metadata, failed=isinstance(answer, Failed))
        if task.attempt_id is not None:
            settled(tx, task.attempt_id)
    log.warning("charge_mended", job_id=task.job_id, provider_task_id=task.provider_task_id)
    ctx.show([task.job_id])
    return True


def differences_usd(differences: Sequence[Difference]) -> Decimal:
    """What the ledger charges too little, in all, as far as the provider says."""
    return sum((each.missing_usd or Decimal(0) for each in differences if not each.mended), Decimal(0))
