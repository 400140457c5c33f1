"""Lane accept: takes requests from the stream into the ledger, one commit a batch; then the stream forgets them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from schemas.errors import RequestInvalid
from schemas.jobs import JobView, State
from schemas.keys import idempotency
from schemas.requests import parse_request
from schemas.tracing import FIELD, traceparent_of
from tasks.commands import obey
from tasks.context import Context
from tasks.domain.figures import DISK_LOW
from tasks.domain.job import JOB_ID, JOB_ID_RULE
from tasks.enqueued import TASK, job_id_in, request_in, trace_in
from tasks.entering import check_callback, keep_inputs, new_job
from tasks.failpoints import failpoint
from tasks.inputs import stored_inputs
from tasks.lanes import lane
from tasks.ledger import LedgerError
from tasks.ledger.database import Transaction
from tasks.ledger.jobs import NewJob, fingerprints, holder_of
from tasks.ledger.jobs import accept as accept_jobs
from tasks.ledger.rejected import put_aside
from tasks.pulse import PulseError
from tasks.pulse.intake import StreamEntry

log = structlog.get_logger("reelworks.accept")

# Any fixed value: ids made from it are the same however often an entry is read.
_ENTRY_NAMESPACE: Final = uuid.UUID("5d8e2f7c-31c7-4a55-9d5c-6f0c4b1b7e21")
_CONFLICT: Final = "job: this id belongs to an earlier, different request (the same idempotency key, or a reused id)"


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that can't become a job, and why. `reason` names field and rule, never a prompt or an image.

    `idempotency`: the Redis key of the record that has the producer's next try taken for a repetition.
    """

    entry: StreamEntry
    job_id: str | None
    reason: str
    idempotency: str | None = None


@lane("accept")
def accept(ctx: Context) -> float:
    """Accept what waits in the request stream."""
    obey(ctx)
    if not ctx.store.has_room():
        log.error("disk_low", lane="accept")
        ctx.pulse.tally.add(DISK_LOW, "accept")
        return ctx.policy.lane_idle_s  # pictures could not be kept: requests are safe where they are
    ctx.pulse.intake.gather(TASK, ctx.policy.accept_batch)
    entries = ctx.pulse.intake.read(ctx.policy.accept_batch, wait_s=ctx.policy.lane_idle_s)
    if not entries:
        return 0.0
    new, refused = _sort(ctx, entries)
    with ctx.ledger.begin("accept") as tx:
        accepted = accept_jobs(tx, [job for _, job in new.values()])
        again = [each for job_id, each in new.items() if job_id not in accepted]
        known = fingerprints(tx, [job.id for _, job in again] + [each.job_id for each in refused if each.job_id])
        refused += _conflicts(tx, again, known)
        for each in refused:
            put_aside(tx, each.entry.id, each.job_id, each.reason, _printable(each.entry.fields))
    _tell(ctx, [each for each in refused if each.job_id and each.job_id not in known])
    failpoint("accept.before_ack")
    ctx.pulse.intake.done([entry.id for entry in entries])
    failpoint("accept.after_ack")
    # They are in the store by now; an entry still to come that names one of them finds it there.
    ctx.pulse.intake.drop_inputs({image.sha256 for _, job in new.values() for image in stored_inputs(job.request)})
    ctx.show([*accepted, *known])
    for each in refused:
        log.warning("request_put_aside", entry=each.entry.id, job_id=each.job_id, reason=each.reason)
    log.info("requests_accepted", accepted=len(accepted), known=len(again), put_aside=len(refused))
    return 0.0


def _tell(ctx: Context, unborn: Sequence[Refused]) -> None:
    """Have producers learn that these became no job, and their keys be free for another try.

    While the entries are still in the stream: nobody else would ever say so, and a key that was not freed would swallow
    the next try without a word. Raises `PulseError`: then all of it is done again.
    """
    ctx.pulse.intake.forget([each.idempotency for each in unborn if each.idempotency])
    ctx.pulse.views.publish([_refused_view(each) for each in unborn])


def _sort(ctx: Context, entries: Sequence[StreamEntry]) -> tuple[dict[str, tuple[StreamEntry, NewJob]], list[Refused]]:
    """What can become a job, by its id (of two entries with one id the first), and what can't."""
    new: dict[str, tuple[StreamEntry, NewJob]] = {}
    refused: list[Refused] = []
    for entry in entries:
        job = _read(ctx, entry)
        if isinstance(job, Refused):
            refused.append(job)
        elif new.setdefault(job.id, (entry, job))[1].fingerprint != job.fingerprint:
            refused.append(Refused(entry, job.id, _CONFLICT))
    return new, refused


def _conflicts(tx: Transaction, again: Sequence[tuple[StreamEntry, NewJob]], known: Mapping[str, str]) -> list[Refused]:
    """Of the entries that were not new, those that are not simply the same request once more."""
    found = []
    for entry, job in again:
        if job.id not in known:
            holder = holder_of(tx, job.tenant, job.idempotency_key)
            found.append(Refused(entry, job.id, f"idempotency_key: belongs to job {holder}"))
        elif known[job.id] != job.fingerprint:
            found.append(Refused(entry, job.id, _CONFLICT))
    return found


def _read(ctx: Context, entry: StreamEntry) -> NewJob | Refused:
    message = entry.fields.get("celery")
    # A message that was put aside and put back can have an id beside it that it does not hold.
    named = None if message is None else job_id_in(message)
    job_id = (
        named or entry.fields.get("job", b"").decode("utf-8", "replace") or str(uuid.uuid5(_ENTRY_NAMESPACE, entry.id))
    )
    if not JOB_ID.match(job_id):
        return Refused(entry, None, JOB_ID_RULE)
    if entry.fields.get("v", b"1") != b"1":
        return Refused(entry, job_id, "v: this version reads form 1 only; upgrade the workers")
    record = None
    try:
        raw = json.loads(entry.fields.get("request", b"")) if message is None else request_in(message)
        record = _idempotency_record(raw)
        request, blobs = parse_request(raw, stored_inputs=True).detached()
        check_callback(ctx, request)
        keep_inputs(ctx, request, blobs)
    except RequestInvalid as error:
        return Refused(entry, job_id, str(error), record)
    except (OSError, LedgerError, PulseError):
        raise  # ours, not the entry's: it stays in the stream
    except Exception as error:
        # Whatever else a stranger's entry can cause must not stop the entries behind it.
        log.exception("request_unreadable", entry=entry.id, job_id=job_id)
        return Refused(entry, job_id, f"request: can't be read ({type(error).__name__})")
    return new_job(ctx, job_id, request, _trace(entry))


def _trace(entry: StreamEntry) -> str | None:
    message = entry.fields.get("celery")
    given = entry.fields.get(FIELD, b"").decode("utf-8", "replace") if message is None else trace_in(message)
    return traceparent_of(given)


def _idempotency_record(raw: Any) -> str | None:
    key = raw.get("idempotency_key") if isinstance(raw, dict) else None
    return idempotency(str(raw.get("tenant", "default")), key) if isinstance(key, str) else None


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
