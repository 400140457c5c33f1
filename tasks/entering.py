"""How a checked request becomes a job, whichever door it came through: its pictures are kept, then its row is
committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from schemas.errors import IdempotencyConflict, Problem, RequestInvalid
from schemas.images import ImageRef
from schemas.requests import GenerationRequest, job_id_of
from tasks.context import Context
from tasks.ledger.jobs import NewJob, accept, fingerprints, holder_of
from tasks.ledger.retention import are_going, keep_after_all
from tasks.media.errors import StoreAway


class StoreFull(Exception):
    """The disk of the store is all but full: a request's pictures could not be kept. Try again later, or make room."""


def enter(
    ctx: Context,
    requests: Sequence[GenerationRequest],
    batch_id: str | None = None,
    door: str | None = None,
    traceparent: str | None = None,
) -> list[str]:
    """Commit these requests as jobs, all of them or none, and give the jobs' ids in the requests' order.

    A request whose idempotency key has a job already is that job. `traceparent`: of the span whose children the jobs'
    spans are to be. Needs the ledger and the store, not Redis. Raises `IdempotencyConflict` when that job is another
    request's, `RequestInvalid` for a callback that can't be made, `StoreFull`, `LedgerError`, `OSError` of the store.
    """
    if not ctx.store.has_room():
        raise StoreFull
    new: dict[str, NewJob] = {}
    job_ids = []
    for request in requests:
        check_callback(ctx, request)
        detached, blobs = request.detached()
        keep_inputs(ctx, detached, blobs)
        job = replace(new_job(ctx, job_id_of(detached), detached, traceparent), batch_id=batch_id, door=door)
        if new.setdefault(job.id, job).fingerprint != job.fingerprint:
            raise IdempotencyConflict(job.id)
        job_ids.append(job.id)
    with ctx.ledger.begin("accept") as tx:
        again = new.keys() - accept(tx, list(new.values()))
        known = fingerprints(tx, sorted(again))
        for job_id in sorted(again):
            if known.get(job_id) != new[job_id].fingerprint:
                holder = holder_of(tx, new[job_id].tenant, new[job_id].idempotency_key)
                raise IdempotencyConflict(holder or job_id)
    ctx.show(list(new))
    return job_ids


def check_callback(ctx: Context, request: GenerationRequest) -> None:
    """Refuse an address that no webhook could be sent to, rather than take the job and tell nobody of it.

    Raises `RequestInvalid`.
    """
    problem = None if request.callback_url is None else ctx.webhooks.reach.refusal(request.callback_url)
    if problem is not None:
        sentence = f"{problem.message} (an operator can allow it: REELWORKS_WEBHOOK_PRIVATE)"
        raise RequestInvalid([Problem("callback_url", problem.code, sentence)])


def new_job(ctx: Context, job_id: str, request: GenerationRequest, traceparent: str | None = None) -> NewJob:
    """What accepting a request writes. Its pictures are references by now, and its `traceparent` was judged."""
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
        pictures=tuple(image.name for _, image in _stored(request)),
        traceparent=traceparent,
    )


def _stored(request: GenerationRequest) -> list[tuple[str, ImageRef]]:
    """The pictures of a request that are kept by us, by their fields."""
    names = ("first_frame_image", "last_frame_image")
    images = ((name, getattr(request, name)) for name in names)
    return [(name, image) for name, image in images if isinstance(image, ImageRef)]


def keep_inputs(ctx: Context, request: GenerationRequest, blobs: Mapping[str, bytes]) -> None:
    """Copy a request's pictures to the store, from `blobs` (by SHA-256) or from Redis: a committed job needs no other.

    Raises `RequestInvalid` when a picture is gone, and `PulseError`, `LedgerError` or `OSError` when it can't be had or
    kept.
    """
    stored = _stored(request)
    _have_stay(ctx, [image.name for _, image in stored])
    for name, image in stored:
        if ctx.store.has_input(image.sha256, image.format):
            continue
        data = blobs.get(image.sha256) or ctx.pulse.intake.input(image.sha256)
        if data is None:
            raise RequestInvalid([Problem(name, "input_missing", "the stored image is gone; submit it again")])
        ctx.store.put_input(image.sha256, data, image.format)


def _have_stay(ctx: Context, pictures: Sequence[str]) -> None:
    """See that none of these pictures is removed because no job named it so far: before it is looked for, or put.

    Raises `StoreAway` while one is being removed: in a moment it is known to be gone, and can be put again.
    """
    if not pictures:
        return
    with ctx.ledger.read() as tx:
        if not are_going(tx, pictures):
            return
    with ctx.ledger.begin("accept") as tx:
        if not keep_after_all(tx, pictures):
            raise StoreAway("a picture is just being removed")
