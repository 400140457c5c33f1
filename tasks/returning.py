"""Puts requests that were put aside back into the request stream, as they came: after an upgrade that can read them,
once their callback address is allowed.

Refuses commands: what they ask for may have become wrong by now, or cost money, and there is a verb for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from tasks.context import Context
from tasks.ledger.rejected import aside, remove_aside

log = structlog.get_logger("reelworks.operate")

_COMMAND: Final = "command:"
_LOST: Final = "\ufffd"
"""What bytes that are no UTF-8 became when they were put aside. Who has sent this very sign can't be told from them."""


class NotReturnable(Exception):
    """What was put aside can't be put back. The message says why, and what to do instead."""


def put_back(ctx: Context, entry_id: str) -> None:
    """Put a request back into the stream; then it is put aside no more.

    In this order, so that whoever dies in between loses nothing: what is in the stream twice has one id, and so is one
    job. Raises `NotReturnable`, `LedgerError` and `PulseError`.
    """
    if entry_id.startswith(_COMMAND):
        raise NotReturnable("it is a command: `python -m workers cancel` or `retry` with the job's id does the same")
    with ctx.ledger.read() as tx:
        found = aside(tx, entry_id)
    if found is None:
        raise NotReturnable("there is no such entry: `python -m workers rejected` lists them")
    job_id, fields = found
    if any(_LOST in text for each in fields.items() for text in each):
        raise NotReturnable("it was not UTF-8 through and through, and what was not is lost: have it submitted again")
    ctx.pulse.intake.put_back(_named(fields, job_id))
    with ctx.ledger.begin("operate") as tx:
        remove_aside(tx, entry_id)
    log.info("request_put_back", entry=entry_id, job_id=job_id)


def _named(fields: Mapping[str, str], job_id: str | None) -> dict[str, str]:
    """A request that named no job was given an id by its place in the stream, where it has another one now."""
    return dict(fields) if job_id is None or fields.get("job") else {**fields, "job": job_id}
