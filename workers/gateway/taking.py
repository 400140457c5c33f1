"""Takes requests in for a caller, at either door: as jobs, while its tenant may have more of them."""

from __future__ import annotations

from collections.abc import Sequence

from flask import request

from schemas.requests import GenerationRequest, job_id_of
from schemas.tracing import FIELD, traceparent_of
from tasks.entering import enter
from tasks.ledger.jobs import fingerprints
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
        keyed = [job_id_of(each) for each in asked if each.idempotency_key is not None]
        with here.ctx.ledger.read() as tx:
            # Whoever asks once more whether it was accepted has its job already.
            new = len(asked) - len(fingerprints(tx, keyed))
            if new > 0 and not has_room_for(tx, caller().tenant, new, most):
                detail = f"Tenant {caller().tenant} may have {most} jobs that have not ended: wait for some of them."
                raise Trouble(429, "too_many_jobs", detail, retry_after_s=_LATER_S)
    return enter(here.ctx, asked, batch_id, door, traceparent_of(request.headers.get(FIELD)))
