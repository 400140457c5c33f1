"""How a checked request becomes a job, whichever door it came through: its pictures are kept, then its row is
committed.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.errors import Problem, RequestInvalid
from schemas.images import ImageRef
from schemas.requests import GenerationRequest
from tasks.context import Context
from tasks.ledger.jobs import NewJob


def new_job(ctx: Context, job_id: str, request: GenerationRequest) -> NewJob:
    """What accepting a request writes. Its pictures are references by now."""
    return NewJob(
        id=job_id,
        tenant=request.tenant,
        idempotency_key=request.idempotency_key,
        fingerprint=request.fingerprint(),
        model=request.model,
        resolution=request.resolution,
        duration_s=request.duration,
        request=request.to_dict(),
        priority=request.priority,
        estimate_usd=request.estimate_usd(),
        deadline_s=request.deadline_s,
        max_cost_usd=request.max_cost_usd,
        head_start_s=request.priority * ctx.policy.priority_step_s,
    )


def keep_inputs(ctx: Context, request: GenerationRequest, blobs: Mapping[str, bytes]) -> None:
    """Copy a request's pictures to the store, from `blobs` (by SHA-256) or from Redis: a committed job needs no other.

    Raises `RequestInvalid` when a picture is gone, and `PulseError` or `OSError` when it can't be had or kept.
    """
    for name in ("first_frame_image", "last_frame_image"):
        image = getattr(request, name)
        if not isinstance(image, ImageRef) or ctx.store.has_input(image.sha256, image.format):
            continue
        data = blobs.get(image.sha256) or ctx.pulse.intake.input(image.sha256)
        if data is None:
            raise RequestInvalid([Problem(name, "input_missing", "the stored image is gone; submit it again")])
        ctx.store.put_input(image.sha256, data, image.format)
