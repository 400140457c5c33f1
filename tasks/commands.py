"""What producers ask of their jobs through Redis: cancel and retry, done as an operator would. And what the provider
has called about, which the gateway passes on.
"""

from __future__ import annotations

from typing import Final

import structlog

from tasks.callbacks import heed
from tasks.context import Context
from tasks.domain.job import JOB_ID, JOB_ID_RULE
from tasks.failpoints import failpoint
from tasks.ledger import LedgerError
from tasks.ledger.jobs import get
from tasks.ledger.rejected import put_aside
from tasks.operating import NotPossible, cancel, retry
from tasks.pulse import PulseError
from tasks.pulse.intake import StreamEntry

log = structlog.get_logger("reelworks.accept")

_WAITS: Final = "waits for its job"


def obey(ctx: Context) -> int:
    """Do what waits in the stream of commands; gives how many entries were done.

    A command may overtake the request that it is about: one for a job that nobody knows is kept, and given up only
    after an hour, and not while older requests wait. What cannot be done, or not be read, is put aside with its reason.
    """
    done = 0
    for entry in ctx.pulse.intake.commands(ctx.policy.accept_batch):
        problem = _problem(ctx, entry)
        if problem is _WAITS:
            continue
        if problem is not None:
            log.warning("command_put_aside", entry=entry.id, reason=problem)
            with ctx.ledger.begin("command.put_aside") as tx:
                named = _text(entry, "job")
                job_id = named if JOB_ID.match(named) else None
                fields = {name: _text(entry, name)[:200] for name in entry.fields}
                put_aside(tx, f"command:{entry.id}", job_id, problem, fields)
        failpoint("command.before_ack")
        # Each by itself: read again, a row of them would mean something else.
        ctx.pulse.intake.commands_done([entry.id])
        failpoint("command.after_ack")
        done += 1
    return done


def _problem(ctx: Context, entry: StreamEntry) -> str | None:
    """What is wrong with a command; `None` when it was carried out."""
    try:
        return _do(ctx, entry)
    except (LedgerError, PulseError):
        raise  # ours, not the entry's: it stays in the stream
    except Exception as error:
        # Whatever else a stranger's entry can cause must not stop the entries, and the requests, behind it.
        log.exception("command_failed", entry=entry.id)
        return f"command: can't be carried out ({type(error).__name__})"


def _do(ctx: Context, entry: StreamEntry) -> str | None:
    job_id, word = _text(entry, "job"), _text(entry, "command")
    if word == "called":  # never put aside: it holds a token
        heeded = heed(ctx, _text(entry, "token"), _text(entry, "task"))
        return None if heeded or ctx.pulse.intake.is_overdue(entry) else _WAITS
    if word not in {"cancel", "retry"} or _text(entry, "v") != "1":
        return "command: form 1 with the command cancel or retry is needed"
    if not JOB_ID.match(job_id):
        return JOB_ID_RULE
    with ctx.ledger.read() as tx:
        known = get(tx, job_id) is not None
    if not known:
        return "job: there is none of this id" if ctx.pulse.intake.is_overdue(entry) else _WAITS
    try:
        if word == "cancel":
            cancel(ctx, job_id)
        else:
            retry(ctx, job_id, anew=_text(entry, "anew") == "1", command=entry.id)
    except NotPossible as error:
        return str(error)
    return None


def _text(entry: StreamEntry, name: str) -> str:
    return entry.fields.get(name, b"").decode("utf-8", "replace")
