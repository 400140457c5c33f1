"""A job as the provider shows its tasks: what its clients read, with our durable links.

The form is that of the provider's API reference for `minimax_hailuo_02_i2v`. Our states are its three: whatever has not
ended is `in_progress`, and what was cancelled has `failed`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from marshmallow import Schema, fields, validate

from schemas.jobs import TERMINAL, State
from tasks.ledger.resources import JobResource

# Numbers of the provider's list: what our own failures look most like to its clients.
_CREATING_FAILED: Final = 10004099
_FETCHING_FAILED: Final = 10004097


class ContentSchema(Schema):
    """One file of a task, as the provider's task object names it."""

    type = fields.String(required=True)
    url = fields.String(required=True)


class GroupSchema(Schema):
    """A group of files, of which a task of ours has one."""

    content = fields.List(fields.Nested(ContentSchema), required=True)


class TaskErrorSchema(Schema):
    """Why a task failed, with the provider's number for it."""

    code = fields.Integer(required=True)
    error_message = fields.String(required=True)


class TaskSchema(Schema):
    """A task as the provider shows it."""

    id = fields.String(required=True)
    created_at = fields.Integer(required=True, metadata={"description": "Epoch seconds."})
    status = fields.String(required=True, validate=validate.OneOf(["in_progress", "completed", "failed"]))
    model = fields.String(required=True)
    progress = fields.Float()
    output = fields.List(fields.Nested(GroupSchema))
    usage = fields.Dict(metadata={"description": "`cost` in USD as a string, `discount`."})
    metadata = fields.Dict()
    error = fields.Nested(TaskErrorSchema)


def task_body(job: JobResource, progress: float | None, link: Callable[[str, int], str]) -> dict[str, Any]:
    """What `TaskSchema` writes. `progress`: 0 to 1, by the last look. `link`: to an output, by job and index."""
    view = job.view
    task: dict[str, Any] = {
        "id": job.id,
        "created_at": int(job.accepted_at.timestamp()),
        "status": "in_progress",
        "model": view.model,
    }
    if view.state not in TERMINAL:
        return task | {"progress": progress or 0.0}
    ended = {"metadata": {"completed_at": int(job.changed_at.timestamp())}}
    usage: dict[str, Any] = {} if view.charged_usd is None else {"usage": _usage(job)}
    if view.state is State.COMPLETED:
        content = [{"type": each.type, "url": link(job.id, each.index)} for each in view.outputs]
        return task | ended | usage | {"status": "completed", "progress": 1.0, "output": [{"content": content}]}
    return task | ended | usage | {"status": "failed", "error": _error(job)}


def _usage(job: JobResource) -> dict[str, Any]:
    found: dict[str, Any] = {"cost": f"{job.view.charged_usd:f}"}
    try:
        return found if job.discount is None else found | {"discount": float(job.discount)}
    except ValueError:
        return found


def _error(job: JobResource) -> dict[str, Any]:
    view = job.view
    if view.state is State.CANCELLED:
        return {"code": _CREATING_FAILED, "error_message": "The job was cancelled."}
    code = view.error_code or ""
    number = _FETCHING_FAILED if view.error_stage == State.DOWNLOADING else _CREATING_FAILED
    if code.isascii() and code.isdigit() and len(code) < 16:
        number = int(code)
    return {"code": number, "error_message": view.error_message or "The job failed."}
