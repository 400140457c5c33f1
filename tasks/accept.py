"""Lane accept: takes requests from the stream into the ledger, one commit a batch; then the stream forgets them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from schemas.errors import Problem, RequestInvalid
from schemas.images import ImageRef
from schemas.jobs import JobView, State
from schemas.requests import GenerationRequest, parse_request
from tasks.context import Context
from tasks.lanes import lane
from tasks.ledger.deliverables import put_aside
from tasks.ledger.jobs import NewJob, fingerprints
from tasks.ledger.jobs import accept as accept_jobs
from tasks.pulse.intake import StreamEntry

log = structlog.get_logger("reelworks.accept")

_JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
# Any fixed value: ids made from it are the same however often an entry is read.
_ENTRY_NAMESPACE: Final = uuid.UUID("5d8e2f7c-31c7-4a55-9d5c-6f0c4b1b7e21")


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that can't become a job, and why. `reason` names field and rule, never a prompt or an image."""

    entry: StreamEntry
    job_id: str | None
    reason: str


@lane("accept")
def accept(ctx: Context) -> float:
    """Accept what waits in the request stream."""
    entries = ctx.pulse.intake.read(ctx.policy.accept_batch, wait_s=ctx.policy.lane_idle_s)
    if not entries:
        return 0.0
    read = [_read(ctx, entry) for entry in entries]
    new = {job.id: (entry, job) for entry, job in zip(entries, read, strict=True) if isinstance(job, NewJob)}
    refused = [each for each in read if isinstance(each, Refused)]
    with ctx.ledger.begin() as tx:
        accepted = accept_jobs(tx, [job for _, job in new.values()])
        known = fingerprints(tx, [job_id for job_id in new if job_id not in accepted])
        for job_id, fingerprint in known.items():
            entry, job = new[job_id]
            if job.fingerprint != fingerprint:
                refused.append(Refused(entry, job_id, "idempotency_key: belongs to an earlier, different request"))
        for each in refused:
            put_aside(tx, each.entry.id, each.job_id, each.reason, _printable(each.entry.fields))
    ctx.pulse.intake.done([entry.id for entry in entries])
    ctx.show([*accepted, *known])
    ctx.publish([_refused_view(each) for each in refused if each.job_id and each.job_id not in known])
    for each in refused:
        log.warning("request_put_aside", entry=each.entry.id, job_id=each.job_id, reason=each.reason)
    log.info("requests_accepted", accepted=len(accepted), known=len(known), put_aside=len(refused))
    return 0.0


def _read(ctx: Context, entry: StreamEntry) -> NewJob | Refused:
    job_id = entry.fields.get("job", b"").decode("utf-8", "replace") or str(uuid.uuid5(_ENTRY_NAMESPACE, entry.id))
    if not _JOB_ID.match(job_id):
        return Refused(entry, None, "job: up to 64 letters, digits, '-' and '_' are needed")
    try:
        raw = json.loads(entry.fields.get("request", b""))
        if not isinstance(raw, dict):
            raise RequestInvalid([Problem("request", "not_an_object", "a JSON object is needed")])
        request, blobs = parse_request(raw, stored_inputs=True).detached()
        _keep_inputs(ctx, request, blobs)
    except (ValueError, RecursionError) as error:  # RequestInvalid is a ValueError, as are JSON's and the codec's
        reason = str(error) if isinstance(error, RequestInvalid) else "request: is not readable JSON"
        return Refused(entry, job_id, reason)
    return _new_job(job_id, request)


def _keep_inputs(ctx: Context, request: GenerationRequest, blobs: Mapping[str, bytes]) -> None:
    """Copy input images to the store, so that a committed job does not depend on Redis."""
    for name in ("first_frame_image", "last_frame_image"):
        image = getattr(request, name)
        if not isinstance(image, ImageRef) or ctx.store.has_input(image.sha256, image.format):
            continue
        data = blobs.get(image.sha256) or ctx.pulse.intake.input(image.sha256)
        if data is None:
            raise RequestInvalid([Problem(name, "input_missing", "the stored image is gone; submit it again")])
        ctx.store.put_input(image.sha256, data, image.format)


def _new_job(job_id: str, request: GenerationRequest) -> NewJob:
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
    )


def _refused_view(refused: Refused) -> JobView:
    return JobView(
        job_id=refused.job_id or "",
        state=State.FAILED,
        error_code="request_refused",
        error_message=refused.reason,
        error_stage="accept",
    )


def _printable(fields: Mapping[str, bytes]) -> dict[str, str]:
    return {name: value.decode("utf-8", "replace") for name, value in fields.items()}
