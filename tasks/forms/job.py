"""A job as the native door shows it. The schemas write the answers and document them, so neither can drift."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from marshmallow import Schema, fields, validate

from schemas.errors import Problem
from schemas.jobs import State
from tasks.ledger.resources import JobResource

STATES = [state.value for state in State]


class Usd(fields.String):
    """US dollars, exact: a decimal number as a string."""

    def _serialize(self, value: Any, *_args: Any, **_kwargs: Any) -> Any:
        return None if value is None else f"{value:f}"


class Utc(fields.String):
    """An instant in ISO 8601, UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "metadata": {"format": "date-time", **kwargs.get("metadata", {})}})

    def _serialize(self, value: Any, *_args: Any, **_kwargs: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else value


class FieldProblemSchema(Schema):
    """One broken rule of a request."""

    field = fields.String(required=True, metadata={"description": "Dotted path into the request."})
    code = fields.String(required=True, metadata={"description": "Stable, for programs."})
    message = fields.String(required=True, metadata={"description": "For people."})


class EventSchema(Schema):
    """A change of a job's state."""

    seq = fields.Integer(required=True, metadata={"description": "Counts up from 1 within a job."})
    event = fields.String(required=True, metadata={"description": "What happened."})
    state = fields.String(required=True, validate=validate.OneOf(STATES), metadata={"description": "Where it led."})
    at = Utc(required=True)


class OutputSchema(Schema):
    """A stored file."""

    index = fields.Integer(required=True)
    type = fields.String(required=True, metadata={"description": "`video`, `image`, or as the provider names it."})
    url = fields.String(required=True, metadata={"description": "Where it is fetched, with the same key."})
    size_bytes = fields.Integer(required=True)
    sha256 = fields.String(required=True)
    width = fields.Integer(required=True, allow_none=True, metadata={"description": "Pixels."})
    height = fields.Integer(required=True, allow_none=True, metadata={"description": "Pixels."})
    duration_s = fields.Float(required=True, allow_none=True)
    mismatch = fields.String(
        required=True, allow_none=True, metadata={"description": "What differs from what was asked for."}
    )
    kept = fields.Boolean(
        required=True, metadata={"description": "False: the file is not kept any more, and its `url` answers 404."}
    )


class JobErrorSchema(Schema):
    """Why a job failed."""

    code = fields.String(required=True, metadata={"description": "Stable: the provider's, or our own."})
    message = fields.String(required=True)
    stage = fields.String(required=True, allow_none=True, metadata={"description": "The state in which it failed."})


class JobSchema(Schema):
    """One generation."""

    id = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(STATES))
    tenant = fields.String(required=True)
    model = fields.String(required=True)
    resolution = fields.String(required=True, allow_none=True)
    duration = fields.Integer(required=True, allow_none=True, metadata={"description": "Seconds."})
    priority = fields.Integer(required=True)
    metadata = fields.Dict(keys=fields.String(), required=True, metadata={"description": "As it was given."})
    batch_id = fields.String(required=True, allow_none=True)
    created_at = Utc(required=True)
    changed_at = Utc(required=True)
    progress = fields.Float(
        required=True, allow_none=True, metadata={"description": "0 to 1, as the provider last said; null: unknown."}
    )
    estimate_usd = Usd(required=True, metadata={"description": "By the price list."})
    charged_usd = Usd(required=True, allow_none=True, metadata={"description": "What it did cost; null: nothing yet."})
    charge_estimated = fields.Boolean(
        required=True, metadata={"description": "The provider named no price: the list's was charged."}
    )
    error = fields.Nested(JobErrorSchema, required=True, allow_none=True)
    outputs = fields.List(fields.Nested(OutputSchema), required=True)
    events = fields.List(fields.Nested(EventSchema), required=True)
    warnings = fields.List(
        fields.Nested(FieldProblemSchema),
        metadata={"description": "What will be done, but perhaps not as it was meant; said once, to who asks for it."},
    )


def job_body(
    job: JobResource, progress: float | None, warnings: tuple[Problem, ...] = (), *, base_url: str = ""
) -> dict[str, Any]:
    """What `JobSchema` writes. `base_url`: where the gateway is; not needed by whoever is just asking it."""
    view = job.view
    error = None
    if view.error_code is not None:
        message = view.error_message or "The job failed."
        error = {"code": view.error_code, "message": message, "stage": view.error_stage}
    body: Mapping[str, Any] = {
        "id": view.job_id,
        "state": view.state,
        "tenant": view.tenant,
        "model": view.model,
        "resolution": job.resolution,
        "duration": job.duration_s,
        "priority": job.priority,
        "metadata": view.metadata,
        "batch_id": job.batch_id,
        "created_at": job.accepted_at,
        "changed_at": job.changed_at,
        "progress": 1.0 if view.state is State.COMPLETED else progress,
        "estimate_usd": job.estimate_usd,
        "charged_usd": view.charged_usd,
        "charge_estimated": view.charge_estimated,
        "error": error,
        "outputs": [
            {**_fields(output), "url": f"{base_url}/v1/jobs/{view.job_id}/outputs/{output.index}"}
            for output in view.outputs
        ],
        "events": view.events,
        **({"warnings": warnings} if warnings else {}),
    }
    return dict(body)


def _fields(output: Any) -> dict[str, Any]:
    return {name: getattr(output, name) for name in type(output).__slots__ if name != "path"}
