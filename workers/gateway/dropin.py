"""The drop-in door: the provider's own two routes and envelopes, so that a client of the provider needs another base
URL and another key, and nothing else.

The envelope is that of the provider's API reference for `minimax_hailuo_02_i2v`; what that leaves open is as published
clients of it have it: `{"model", "input": [{"params": {...}}]}` in, a task object out, other names passed over.
Our states are its three: whatever has not ended is `in_progress`, and what was cancelled has `failed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from flask import Response, request
from flask_smorest import Blueprint
from marshmallow import Schema, fields

from schemas.errors import Problem, RequestInvalid
from tasks.domain.api_keys import Scope
from tasks.forms.task import TaskSchema, task_body
from tasks.ledger.resources import DROPIN, resource_of
from workers.gateway.auth import allowed, caller
from workers.gateway.desk import Desk, desk
from workers.gateway.files import LOCATED, MOVED, output_file
from workers.gateway.problems import Trouble, trouble_of
from workers.gateway.reading import json_body, own_request
from workers.gateway.taking import taken_in

dropin = Blueprint("provider", __name__, description="The provider's own API, for its clients.")

_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["model", "input"],
                "properties": {
                    "model": {"type": "string"},
                    "input": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["params"],
                            "properties": {"params": {"$ref": "#/components/schemas/GenerationRequest"}},
                        },
                    },
                },
            }
        }
    },
}
PATHS: Final = ("/model/", "/files/")
"""Where this door is."""
_OURS: Final = frozenset({"model", "tenant", "idempotency_key", "priority", "deadline_s", "max_cost_usd", "metadata"})
"""Fields of our own requests that are no parameters of the provider's."""
_CODES: Final = {401: 1004, 403: 1004, 409: 2013, 400: 2013, 404: 2013, 413: 2013, 415: 2013, 429: 1002}
_OTHER_CODE: Final = 1033
_BAD: Final = 400
_UNPROCESSABLE: Final = 422


class InnerErrorSchema(Schema):
    """An error as the provider words it: its number and a sentence."""

    code = fields.Integer(required=True)
    message = fields.String(required=True)


class EnvelopeErrorSchema(Schema):
    """An error as the provider's clients read it."""

    error = fields.Nested(InnerErrorSchema, required=True)


def _refusals(*statuses: int) -> Any:
    def decorate(view: Any) -> Any:
        for status in statuses:
            view = dropin.alt_response(status, schema=EnvelopeErrorSchema)(view)
        return view

    return decorate


def refused(error: Exception) -> Response:
    """An error of this door, in the form that the provider's clients look for."""
    trouble = trouble_of(error)
    message = "; ".join(f"{each.field}: {each.message}" for each in trouble.errors) or trouble.detail
    if trouble.status == _UNPROCESSABLE:
        trouble = replace(trouble, status=_BAD)  # as the provider says it
    inner = {"code": _CODES.get(trouble.status, _OTHER_CODE), "message": message or trouble.document()["title"]}
    return trouble.response({"error": inner}, "application/json")


@dropin.route("/model/v1/generation", methods=["POST"])
@_refusals(400, 409, 413, 415)
@allowed(dropin, Scope.SUBMIT, _refusals(401, 403, 429, 503))
@dropin.doc(requestBody=_BODY)
@dropin.response(200, TaskSchema)
def create_task() -> Any:
    """Create a generation task."""
    asked = own_request(_params(json_body()), request.headers.get("Idempotency-Key"))
    here = desk()
    (job_id,) = taken_in(here, [asked], door=DROPIN)
    return _shown(here, job_id)


def _params(body: Any) -> dict[str, Any]:
    """Our request in the provider's envelope. Raises `RequestInvalid`."""
    listed = body.get("input") if isinstance(body, Mapping) else None
    first = listed[0] if isinstance(listed, list) and len(listed) == 1 else None
    params = first.get("params") if isinstance(first, Mapping) else None
    if not isinstance(params, Mapping):
        sentence = 'must be a list of one object with "params": {...}'
        raise RequestInvalid([Problem("input", "bad_format", sentence)])
    if foreign := sorted(map(str, params.keys() & _OURS)):
        raise RequestInvalid([Problem(foreign[0], "unknown_field", "is no parameter of the model")])
    return {"model": body.get("model"), **params}


@dropin.route("/model/v1/generation/task/<task_id>", methods=["GET"])
@_refusals(404)
@allowed(dropin, Scope.READ, _refusals(401, 403, 429, 503))
@dropin.response(200, TaskSchema)
def show_task(task_id: str) -> Any:
    """Tell where a generation task stands."""
    return _shown(desk(), task_id)


@dropin.route("/files/<job_id>/<int:index>", methods=["GET"])
@_refusals(403, 404, 416, 503)
@dropin.alt_response(206, schema={"type": "string", "format": "binary"}, content_type="*/*", success=True)
@dropin.alt_response(304, description="It is the file that the caller has.")
@dropin.alt_response(307, description=MOVED, headers=LOCATED)
@dropin.doc(
    parameters=[
        {"in": "query", "name": name, "required": True, "schema": {"type": "string"}}
        for name in ("expires", "signature")
    ],
    security=[],
)
@dropin.response(200, {"type": "string", "format": "binary"}, content_type="*/*", description="The file.")
def linked_file(job_id: str, index: int) -> Any:
    """Fetch an output by its link."""
    here, given = desk(), request.args
    if not here.options.links.opens(job_id, index, given.get("expires", ""), given.get("signature", "")):
        raise Trouble(403, "forbidden", "The link is not whole, or has expired: ask for the task again.")
    with here.ctx.ledger.read() as tx:
        job = resource_of(tx, None, job_id)
    return output_file(here.ctx, job, index)


def _shown(here: Desk, job_id: str) -> Mapping[str, Any]:
    job = here.job_of(caller().tenant, job_id)
    base = here.options.public_url or request.host_url.rstrip("/")
    return task_body(job, here.progress([job]).get(job_id), lambda *output: base + here.options.links.path(*output))
