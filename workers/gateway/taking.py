"""Takes requests in for a caller, at either door: as jobs, while its tenant may have more of them."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.requests import GenerationRequest
from tasks.entering import enter
from tasks.ledger.resources import has_room_for
from workers.gateway.auth import caller, jobs_limit
from workers.gateway.desk import Desk
from workers.gateway.problems import Trouble

_LATER_S = 60


def taken_in(
    here: Desk, asked: Sequence[GenerationRequest], batch_id: str | None = None, door: str | None = None
) -> list[str]:
    """The ids of the jobs that these requests have become, all of them or none.

    Raises `Trouble` (429) when the tenant has too many jobs already, and what `enter` raises. Of callers that ask at
    the same moment some more may be taken in: a limit of this kind is no budget.
    """
    most = jobs_limit()
    if most is not None:
        with here.ctx.ledger.read() as tx:
            if not has_room_for(tx, caller().tenant, len(asked), most):
                detail = f"Tenant {caller().tenant} may have {most} jobs that have not ended: wait for some of them."
                raise Trouble(429, "too_many_jobs", detail, retry_after_s=_LATER_S)
    return enter(here.ctx, asked, batch_id, door)
