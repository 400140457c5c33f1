"""Lane admit: gives free slots to waiting jobs, and ends those whose deadline passed before anything was sent.

Most slots are filled by whoever frees them; the lane fills those that the time frees: a pause or a pace that is over, a
budget's new day, a hint that was lost.
"""

from __future__ import annotations

from tasks.admitting import fill
from tasks.context import Context
from tasks.domain.transitions import Event
from tasks.lanes import lane
from tasks.ledger.admission import expired
from tasks.ledger.jobs import move


@lane("admit")
def admit(ctx: Context) -> float:
    """Admit waiting jobs to free slots."""
    more = _expire(ctx) | (fill(ctx) == ctx.policy.admit_batch)
    return 0.0 if more else ctx.policy.lane_idle_s


def _expire(ctx: Context) -> bool:
    """End what is too late; whether there may be more."""
    with ctx.ledger.read() as tx:
        late = expired(tx, ctx.policy.admit_batch)
    if not late:
        return False
    with ctx.ledger.begin("admit") as tx:
        ended = [
            move(
                tx,
                job_id,
                Event.EXPIRE,
                lease_s=ctx.policy.handover_s,
                error_code="deadline_passed",
                error_message="The deadline passed before the job's turn came; nothing was sent and nothing was paid.",
                error_stage="queued",
            )
            for job_id in sorted(late)
        ]
    ctx.show([job.id for job in ended if job is not None])
    return len(late) == ctx.policy.admit_batch
