"""Where the provider calls back. Its calls are told from others' by a token in their path, and never believed: they
make a job's look due at once, or have a worker look into the task that they name.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from flask import request
from flask_smorest import Blueprint
from marshmallow import Schema, fields

from schemas.jobs import State
from tasks.callbacks import attempt_called_about
from tasks.context import Context
from tasks.domain.callbacks import Called, read_call
from tasks.pulse import PulseError
from workers.gateway.desk import desk
from workers.gateway.problems import Trouble, refusals

log = structlog.get_logger("reelworks.gateway")

callbacks = Blueprint("callbacks", __name__, description="Where the provider calls back.")

_BODY_MAX_BYTES: Final = 65_536
_IN_DOUBT: Final = frozenset({State.UNCERTAIN, State.CREATING})


class CalledSchema(Schema):
    """What the provider is answered."""

    challenge = fields.String(metadata={"description": "As it came."})


@callbacks.route("/callbacks/<token>", methods=["POST"])
@callbacks.doc(
    security=[],
    requestBody={"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
)
@refusals(callbacks, 404, 413, 429, 503)
@callbacks.response(200, CalledSchema)
def called(token: str) -> Any:
    """Take a call of the provider: a challenge, which is given back, or news of a task."""
    here = desk()
    attempt_id = here.options.tokens.attempt_of(token)
    if attempt_id is None:
        raise Trouble(404, "not_found")
    request.max_content_length = _BODY_MAX_BYTES
    said = read_call(request.get_data(cache=False))
    if said.challenge is not None:
        return {"challenge": said.challenge}  # within three seconds, so without asking anybody
    _pass_on(here.ctx, attempt_id, token, said)
    return {}


def _pass_on(ctx: Context, attempt_id: str, token: str, said: Called) -> None:
    """Raises `Trouble` (404, 429), and `LedgerError`. While Redis is away nothing comes of a call but that it is lost:
    the job is looked at when its time comes.
    """
    try:
        if not ctx.pulse.calls.is_welcome(attempt_id):
            raise Trouble(429, "too_many_calls", "Ten in ten seconds are enough.", retry_after_s=10)
        with ctx.ledger.read() as tx:
            found = attempt_called_about(tx, attempt_id, said.provider_task_id)
        if found is None:
            raise Trouble(404, "not_found")
        if found.state is State.GENERATING and not said.goes_on:
            ctx.pulse.timetable.due_now(found.job_id)
        elif found.state in _IN_DOUBT and said.provider_task_id is not None:
            ctx.pulse.intake.pass_on(token, said.provider_task_id)
        log.info("provider_called", job_id=found.job_id, attempt=attempt_id, state=found.state)
    except PulseError as error:
        log.warning("call_lost", attempt=attempt_id, error=type(error).__name__)
