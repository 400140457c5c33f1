"""Fills free slots with waiting jobs. Called by the lane in its turns, and by whoever has just freed a slot: one that
falls free waits for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Final

import structlog

from tasks.context import Context
from tasks.domain.admission import Refusal, Turn, WaitingJob, next_turns
from tasks.domain.budgets import EVERYONE, Purse, WhenUsedUp
from tasks.domain.job import Job
from tasks.domain.pace import ProviderKey, after_creates, free_slots
from tasks.domain.prices import expected_usd
from tasks.domain.transitions import Event
from tasks.domain.turngap import turn_gap_s
from tasks.hints import hint_create
from tasks.ledger.admission import (
    Open,
    TurnsTaken,
    Waiting,
    anything_waits,
    held_by_tenant,
    keep_turns,
    last_tag,
    last_turns,
    line_of,
    lines,
    open_tasks,
)
from tasks.ledger.database import Transaction
from tasks.ledger.holding import in_doubt_usd
from tasks.ledger.jobs import move
from tasks.ledger.leases import not_handed_over
from tasks.ledger.pauses import paused_now
from tasks.ledger.provider_keys import known_keys, paced
from tasks.ledger.spending import budgets_now, latest_charges
from tasks.pulse import PulseError

log = structlog.get_logger("reelworks.admit")

_PAGE: Final = 20


def fill(ctx: Context) -> int:
    """Give every free slot to the job whose turn it is; gives how many decisions were made, refusals among them."""
    with ctx.ledger.begin("admit") as tx:
        tx.take_turns("admit")  # what is counted as free must still be free when it is taken
        paused = paused_now(tx)  # nobody pauses meanwhile: that takes turns with this
        if EVERYONE in paused:
            return 0
        under_way = open_tasks(tx, ctx.policy.uncertain_slot_s)
        keys = known_keys(tx, sorted(ctx.providers))
        free = _free(ctx, tx, keys, under_way)
        decided = _decide(ctx, tx, free, under_way, paused) if any(free.values()) else []
        moved = _write(ctx, tx, keys, decided)
        turns = [each for each in decided if isinstance(each, Turn)]
        left = _left_behind(tx, turns)
        keep_turns(tx, left)
        more_waits = sum(free.values()) <= len(turns) and _slots_are_wanted(tx, keys, paused)
    if more_waits:
        with suppress(PulseError):  # a hint, said again at the next turn
            ctx.pulse.demand.say()
    admitted = [moved[turn.job_id] for turn in turns]
    _hand_over(ctx, [job for job in admitted if job is not None])
    for refusal in [each for each in decided if isinstance(each, Refusal)]:
        log.info("job_refused", job_id=refusal.job_id, code=refusal.code)
    ctx.show([job.id for job in moved.values() if job is not None], {each.tenant: each.turn_gap_s for each in left})
    return len(decided)


def _slots_are_wanted(tx: Transaction, keys: Sequence[ProviderKey], paused: Collection[str]) -> bool:
    """Whether a slot that falls free would be given to somebody: who waits for a person's word needs none."""
    if all(key.pause_by_person(tx.now) is not None for key in keys):
        return False
    return any(line.tenant not in paused for line, _ in lines(tx)) if paused else anything_waits(tx)


def _hand_over(ctx: Context, admitted: Sequence[Job]) -> None:
    for job in admitted:
        log.info("job_admitted", job_id=job.id, key=job.key_alias)
    if not hint_create(admitted):
        # When the broker is back, nobody is to wait any longer.
        with ctx.ledger.begin("given_back") as tx:
            not_handed_over(tx, admitted)


def _free(ctx: Context, tx: Transaction, keys: Sequence[ProviderKey], under_way: Sequence[Open]) -> dict[str, int]:
    def of(alias: str, count: Callable[[Open], int]) -> int:
        return sum(count(each) for each in under_way if each.key_alias == alias)

    return {
        key.alias: free_slots(
            key,
            tx.now,
            open_tasks=of(key.alias, lambda each: each.tasks),
            beginning=of(key.alias, lambda each: each.beginning),
            open_limit=ctx.policy.open_tasks_per_key,
        )
        for key in keys
    }


def _decide(
    ctx: Context, tx: Transaction, free: Mapping[str, int], under_way: Sequence[Open], paused: Collection[str]
) -> list[Turn | Refusal]:
    found = [(line, most) for line, most in lines(tx) if line.tenant not in paused]
    if not found:
        return []
    opened: dict[str, int] = {}
    for each in under_way:
        opened[each.tenant] = opened.get(each.tenant, 0) + each.tasks
    standing = [
        line if most is None else replace(line, room=max(0, most - opened.get(line.tenant, 0))) for line, most in found
    ]
    costs = _Costs(tx)
    return next_turns(standing, costs.jobs_of, free, _purse(tx, under_way), last_tag(tx), ctx.policy.admit_batch)


def _purse(tx: Transaction, under_way: Sequence[Open]) -> Purse:
    budgets = budgets_now(tx, held_by_tenant(under_way))
    refuses = any(budget.when_used_up is WhenUsedUp.REFUSE for budget in budgets)
    return Purse(budgets, in_doubt_usd(tx) if refuses else None)


class _Costs:
    """A tenant's waiting jobs with what each is expected to cost; asks once a shape."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._latest: dict[tuple[str, str | None, int | None], list[Decimal]] = {}

    def jobs_of(self, tenant: str) -> Iterator[WaitingJob]:
        for job in line_of(self._tx, tenant, _PAGE):
            yield WaitingJob(job.id, self._cost_usd(job), job.max_cost_usd, job.waited_s)

    def _cost_usd(self, job: Waiting) -> Decimal:
        shape = (job.model, job.resolution, job.duration_s)
        if shape not in self._latest:
            self._latest[shape] = latest_charges(self._tx, *shape)
        return expected_usd(job.estimate_usd, self._latest[shape])


def _write(
    ctx: Context, tx: Transaction, keys: Sequence[ProviderKey], decided: Sequence[Turn | Refusal]
) -> dict[str, Job | None]:
    """Apply the decisions; the jobs as they are now, in the order of their turns."""
    moved = dict.fromkeys(each.job_id for each in decided)
    # Rows are changed by id, as everywhere, so that no two transactions wait for each other.
    for each in sorted(decided, key=lambda one: one.job_id):
        moved[each.job_id] = _move(ctx, tx, each)
    taken = [each for each in decided if isinstance(each, Turn)]
    for key in keys:
        creates = sum(turn.key_alias == key.alias for turn in taken)
        then = after_creates(key, tx.now, creates) if creates else None
        if then is not None:
            paced(tx, key.alias, then)
    return moved


def _move(ctx: Context, tx: Transaction, decided: Turn | Refusal) -> Job | None:
    lease_s = ctx.policy.handover_s
    if isinstance(decided, Turn):
        key, hold_usd = decided.key_alias, decided.hold_usd
        return move(tx, decided.job_id, Event.ADMIT, lease_s=lease_s, key_alias=key, hold_usd=hold_usd)
    return move(
        tx,
        decided.job_id,
        Event.REFUSE,
        lease_s=lease_s,
        error_code=decided.code,
        error_message=decided.reason,
        error_stage="queued",
    )


def _left_behind(tx: Transaction, taken: Sequence[Turn]) -> list[TurnsTaken]:
    if not taken:
        return []
    by_tenant: dict[str, list[Turn]] = {}
    for turn in taken:
        by_tenant.setdefault(turn.tenant, []).append(turn)
    before = last_turns(tx, list(by_tenant))
    left = []
    for tenant, turns in by_tenant.items():
        since_s, gap_s = before.get(tenant, (None, None))
        gap_s = turn_gap_s(gap_s, since_s, turns=len(turns), waited_s=turns[0].waited_s)
        left.append(TurnsTaken(tenant, turns[-1].tag, gap_s))
    return left
