"""Lane admit: gives free slots to waiting jobs, and ends those whose deadline passed before anything was sent."""

from __future__ import annotations

import structlog

from tasks.context import Context
from tasks.domain.admission import KeyState, free_slots, turns
from tasks.domain.job import Job
from tasks.domain.transitions import Event
from tasks.hints import hint_create
from tasks.lanes import lane
from tasks.ledger.database import Transaction
from tasks.ledger.jobs import expired, move, open_by_key, waiting

log = structlog.get_logger("reelworks.admit")


@lane("admit")
def admit(ctx: Context) -> float:
    """Admit waiting jobs to free slots."""
    paused = ctx.pulse.keys.paused(sorted(ctx.providers))
    keys = [KeyState(alias, ctx.policy.open_tasks_per_key, alias in paused) for alias in sorted(ctx.providers)]
    with ctx.ledger.begin("admit") as tx:
        tx.take_turns("admit")  # what is counted as free must still be free when it is taken
        ended = _expire(ctx, tx)
        free = free_slots(keys, open_by_key(tx, ctx.policy.uncertain_slot_s))
        batch = min(sum(free.values()), ctx.policy.admit_batch)
        taken = turns(waiting(tx, batch), free)
        # Rows are changed by id, as everywhere, so that no two transactions wait for each other; turns keep order.
        admitted = {
            turn.job_id: move(tx, turn.job_id, Event.ADMIT, lease_s=ctx.policy.handover_s, key_alias=turn.key_alias)
            for turn in sorted(taken, key=lambda each: each.job_id)
        }
    going = [job for job in (admitted[turn.job_id] for turn in taken) if job is not None]
    for job in going:
        hint_create(job)
        log.info("job_admitted", job_id=job.id, key=job.key_alias)
    ctx.show([job.id for job in [*going, *ended]])
    return 0.0 if len(going) == ctx.policy.admit_batch else ctx.policy.lane_idle_s


def _expire(ctx: Context, tx: Transaction) -> list[Job]:
    late = [
        move(
            tx,
            job_id,
            Event.EXPIRE,
            lease_s=ctx.policy.handover_s,
            error_code="deadline_passed",
            error_message="The deadline passed before the job's turn came; nothing was sent and nothing was paid.",
            error_stage="queued",
        )
        for job_id in sorted(expired(tx, ctx.policy.admit_batch))
    ]
    return [job for job in late if job is not None]
