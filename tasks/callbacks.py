"""What the provider says by itself of an attempt: never believed, but looked into.

A job whose create is in doubt gets its provider task back in this way, once a poll of that task agrees.
"""

from __future__ import annotations

import structlog

from schemas.jobs import State
from tasks.context import Context
from tasks.ledger.database import Transaction
from tasks.ledger.money import AttemptOf, attempt_of, is_known_task
from tasks.operating import NotPossible, bind

log = structlog.get_logger("reelworks.callbacks")


def attempt_called_about(tx: Transaction, attempt_id: str, provider_task_id: str | None) -> AttemptOf | None:
    """The job of an attempt that the provider calls about; `None` when there is none.

    Its token was made here, for a create that was sent: so the ledger has lost it, in a restore for instance, and what
    the call names is paid for. Not so if the task is known: then its job was pruned, or was given the task by hand.
    """
    found = attempt_of(tx, attempt_id)
    if found is None and provider_task_id and not is_known_task(tx, provider_task_id):
        log.error("provider_task_without_attempt", attempt=attempt_id, provider_task_id=provider_task_id)
    return found


def heed(ctx: Context, token: str, provider_task_id: str) -> bool:
    """Look into a call that names a provider task: bind the task to the attempt's job, if that is in doubt.

    A token that was not made here, an attempt that is not its job's latest, and a task that the provider does not know
    when it is asked, change nothing. False: the create is still under way, and what comes of it has to be seen first.
    """
    attempt_id = None if ctx.callbacks is None else ctx.callbacks.tokens.attempt_of(token)
    if attempt_id is None:
        log.warning("call_of_a_stranger")
        return True
    with ctx.ledger.read() as tx:
        found = attempt_called_about(tx, attempt_id, provider_task_id)
    if found is not None and found.is_latest and found.state is State.CREATING:
        return False
    if found is None or found.state is not State.UNCERTAIN or not found.is_latest:
        return True
    try:
        bind(ctx, found.job_id, provider_task_id, by="callback")
    except NotPossible as error:
        log.warning("call_not_believed", job_id=found.job_id, attempt=attempt_id, reason=str(error))
    return True
