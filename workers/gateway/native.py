"""The native door, `/v1`: jobs in, jobs and their films out. Every answer is about the caller's own tenant."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

from flask import Response, json, request
from flask_smorest import Blueprint
from marshmallow import RAISE, Schema, fields, validate

from schemas.errors import Problem, RequestInvalid
from schemas.jobs import TERMINAL, State
from schemas.requests import GenerationRequest
from tasks import operating
from tasks.domain.api_keys import Scope
from tasks.domain.prices import expected_usd
from tasks.forms.job import STATES, EventSchema, JobSchema, job_body
from tasks.ledger.resources import page_of, resource_of, resources_of
from tasks.ledger.spending import latest_charges
from workers.gateway import following
from workers.gateway.auth import allowed, caller
from workers.gateway.bodies import BatchSchema, EstimateSchema, JobsSchema
from workers.gateway.cursors import cursor_at, place_of
from workers.gateway.desk import Desk, desk
from workers.gateway.files import LOCATED, MOVED, output_file
from workers.gateway.problems import Trouble, refusals
from workers.gateway.reading import json_body, object_body, own_request, wait_s
from workers.gateway.taking import taken_in

native = Blueprint("jobs", __name__, url_prefix="/v1", description="Have films made, and follow them.")

_IDEMPOTENCY: Final[dict[str, Any]] = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
    "description": "The same key is the same job, for as long as that is kept: with it, repeating a request is safe.",
}
_PREFER: Final[dict[str, Any]] = {
    "in": "header",
    "name": "Prefer",
    "schema": {"type": "string"},
    "description": "`wait=N`: answer when the job has ended, or after N seconds.",
}
_LAST_EVENT: Final[dict[str, Any]] = {
    "in": "header",
    "name": "Last-Event-ID",
    "schema": {"type": "integer", "minimum": 0},
    "description": "Go on after this one.",
}
_LOCATION: Final = {"Location": {"schema": {"type": "string"}, "description": "Where the job is."}}
_RANGE: Final[dict[str, Any]] = {"in": "header", "name": "Range", "schema": {"type": "string"}}
_REQUEST: Final[dict[str, Any]] = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/GenerationRequest"}}},
}
_REQUESTS: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["jobs"],
                "additionalProperties": False,
                "properties": {
                    "jobs": {
                        "type": "array",
                        "minItems": 1,
                        "description": "Each with an `idempotency_key` of its own, by which repeating them is safe; "
                        "100 at most where the gateway says nothing else.",
                        "items": {"$ref": "#/components/schemas/GenerationRequest"},
                    }
                },
            }
        }
    },
}
_SENT_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "Its `seq`."},
        "event": {"const": "state"},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "An `Event`."},
    },
}
_STREAM_S: Final = 600.0
_EVENT: Final = EventSchema()


class PageQuery(Schema):
    """Which jobs."""

    state = fields.List(
        fields.String(validate=validate.OneOf(STATES)), load_default=list, metadata={"description": "Repeatable."}
    )
    batch_id = fields.String(load_default=None)
    cursor = fields.String(load_default=None, metadata={"description": "`next_cursor` of the page before."})
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 200))


class RetrySchema(Schema):
    """How to try again."""

    anew = fields.Boolean(
        metadata={"description": "Create the film once more, which costs again; takes the scope `admin`."}
    )


@native.route("/jobs", methods=["POST"])
@allowed(native, Scope.SUBMIT)
@native.doc(requestBody=_REQUEST, parameters=[_IDEMPOTENCY, _PREFER])
@native.alt_response(200, schema=JobSchema, success=True, description="It has ended already.")
@refusals(native, 400, 409, 413, 415, 422)
@native.response(202, JobSchema, description="Accepted: it is committed.", headers=_LOCATION)
def submit() -> Any:
    """Ask for a film."""
    asked = own_request(json_body(), request.headers.get("Idempotency-Key"))
    here = desk()
    (job_id,) = taken_in(here, [asked])
    waited = here.wait(caller().tenant, job_id, wait_s(here.options.limits.wait_most_s))
    job = here.job_of(caller().tenant, job_id)
    headers = {"Location": f"/v1/jobs/{job_id}"}
    if waited:
        headers["Preference-Applied"] = "wait"
    status = 200 if job.view.state in TERMINAL else 202
    return job_body(job, here.progress([job]).get(job_id), asked.warnings), status, headers


@native.route("/batches", methods=["POST"])
@allowed(native, Scope.SUBMIT)
@native.doc(requestBody=_REQUESTS)
@refusals(native, 400, 409, 413, 415, 422)
@native.response(202, BatchSchema, description="Accepted: all of them are committed.")
def submit_batch() -> Any:
    """Ask for many films at once: all are accepted, or none."""
    here = desk()
    asked = _batch(json_body(), here.options.limits.batch_most)
    batch_id = str(uuid.uuid4())
    job_ids = taken_in(here, asked, batch_id)
    with here.ctx.ledger.read() as tx:
        found = {job.id: job for job in resources_of(tx, caller().tenant, job_ids)}
    jobs = [job_body(found[each], None, one.warnings) for each, one in zip(job_ids, asked, strict=True)]
    # A repetition, by its idempotency keys, is the batch that its jobs are listed under.
    ids = {found[each].batch_id or batch_id for each in job_ids}
    return {"batch_id": ids.pop() if len(ids) == 1 else batch_id, "jobs": jobs}


def _batch(body: Any, most: int) -> list[GenerationRequest]:
    """The requests in a body. Raises `RequestInvalid` with the problems of all of them."""
    listed = body.get("jobs") if isinstance(body, Mapping) else None
    if not isinstance(listed, list) or not listed:
        raise RequestInvalid([Problem("jobs", "required", "a list of requests, one at least")])
    if len(listed) > most:
        raise RequestInvalid([Problem("jobs", "too_many", f"at most {most}; these are {len(listed)}")])
    asked, problems = [], []
    for index, raw in enumerate(listed):
        try:
            asked.append(own_request(raw))
        except RequestInvalid as error:
            problems += [Problem(f"jobs.{index}.{p.field}", p.code, p.message) for p in error.problems]
    if problems:
        raise RequestInvalid(problems)
    return asked


@native.route("/jobs", methods=["GET"])
@allowed(native, Scope.READ)
@native.arguments(PageQuery, location="query", unknown=RAISE)
@native.response(200, JobsSchema)
def list_jobs(query: Mapping[str, Any]) -> Any:
    """List jobs, the latest first."""
    here, tenant, limit = desk(), caller().tenant, query["limit"]
    states = [State(each) for each in query["state"]]
    before = place_of(query["cursor"])
    with here.ctx.ledger.read() as tx:
        page = page_of(tx, tenant, states=states, batch_id=query["batch_id"], before=before, limit=limit + 1)
        found = resources_of(tx, tenant, page[:limit])
    progress = here.progress(found)
    more = cursor_at(found[-1].accepted_at, found[-1].id) if len(page) > limit else None
    return {"jobs": [job_body(job, progress.get(job.id)) for job in found], "next_cursor": more}


@native.route("/jobs/<job_id>", methods=["GET"])
@allowed(native, Scope.READ)
@native.doc(parameters=[_PREFER])
@refusals(native, 404)
@native.response(200, JobSchema)
def show(job_id: str) -> Any:
    """Tell where a job stands."""
    here = desk()
    here.wait(caller().tenant, job_id, wait_s(here.options.limits.wait_most_s))
    return _shown(here, job_id)


@native.route("/jobs/<job_id>", methods=["DELETE"])
@allowed(native, Scope.SUBMIT)
@refusals(native, 404, 409)
@native.response(202, JobSchema, description="Nobody wants it any more; its state says what became of it.")
def cancel(job_id: str) -> Any:
    """Cancel a job. What was not sent ends at once and is free; what was, is followed to its end and recorded."""
    here = desk()
    here.job_of(caller().tenant, job_id)
    operating.cancel(here.ctx, job_id)
    return _shown(here, job_id)


@native.route("/jobs/<job_id>/retry", methods=["POST"])
@allowed(native, Scope.SUBMIT)
@native.doc(
    requestBody={
        "required": False,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Retry"}}},
    }
)
@refusals(native, 400, 404, 409, 413, 415, 422)
@native.response(202, JobSchema)
def retry(job_id: str) -> Any:
    """Have a failed job tried again from the stage that failed. Its film is created once more only if asked for."""
    anew = object_body("anew").get("anew", False)
    if not isinstance(anew, bool):
        raise RequestInvalid([Problem("anew", "not_a_boolean", "must be true or false")])
    if anew and Scope.ADMIN not in caller().scopes:
        raise Trouble(403, "forbidden", f"To create a film once more costs again: it takes the scope {Scope.ADMIN}.")
    here = desk()
    here.job_of(caller().tenant, job_id)
    operating.retry(here.ctx, job_id, anew=anew)
    return _shown(here, job_id)


@native.route("/jobs/<job_id>/events", methods=["GET"])
@allowed(native, Scope.READ)
@native.doc(parameters=[_LAST_EVENT])
@refusals(native, 404, 422)
@native.response(
    200,
    _SENT_EVENT,
    content_type="text/event-stream",
    description="Server-sent events; the stream ends with the job.",
)
def stream(job_id: str) -> Any:
    """Follow a job as it changes."""
    here, tenant = desk(), caller().tenant
    after = request.headers.get("Last-Event-ID", "0")
    if not after.isascii() or not after.isdigit() or len(after) > 9:
        raise RequestInvalid([Problem("Last-Event-ID", "not_an_integer", "must be the id of an event")])
    here.job_of(caller().tenant, job_id)
    if not here.waits.take():
        detail = "Look at the job now and then instead, or try again."
        raise Trouble(503, "too_many_streams", detail, retry_after_s=5)

    def lines() -> Iterator[str]:
        yield "retry: 2000\n\n"
        for event in following.events(here.ctx, tenant, job_id, int(after), _STREAM_S):
            if event is None:
                yield ": still here\n\n"
            else:
                yield f"id: {event.seq}\nevent: state\ndata: {json.dumps(_EVENT.dump(event))}\n\n"

    sent = Response(lines(), content_type="text/event-stream", headers={"Cache-Control": "no-store"})
    sent.headers["X-Accel-Buffering"] = "no"
    sent.call_on_close(here.waits.give_back)
    return sent


@native.route("/jobs/<job_id>/outputs/<int:index>", methods=["GET"])
@allowed(native, Scope.READ)
@native.doc(parameters=[_RANGE])
@native.alt_response(206, schema={"type": "string", "format": "binary"}, content_type="*/*", success=True)
@native.alt_response(304, description="It is the file that the caller has.")
@native.alt_response(307, description=MOVED, headers=LOCATED)
@refusals(native, 404, 416)
@native.response(200, {"type": "string", "format": "binary"}, content_type="*/*", description="The file.")
def output(job_id: str, index: int) -> Any:
    """Fetch a stored file."""
    here = desk()
    with here.ctx.ledger.read() as tx:
        job = resource_of(tx, caller().tenant, job_id)
    return output_file(here.ctx, job, index)


@native.route("/estimate", methods=["POST"])
@allowed(native, Scope.SUBMIT)
@native.doc(requestBody=_REQUEST)
@refusals(native, 400, 413, 415, 422)
@native.response(200, EstimateSchema)
def estimate() -> Any:
    """Say what a request would cost, without making it."""
    asked = own_request(json_body())
    listed = asked.estimate_usd()
    with desk().ctx.ledger.read() as tx:
        latest = latest_charges(tx, asked.model, asked.resolution, asked.duration)
    return {"estimate_usd": listed, "expected_usd": expected_usd(listed, latest), "warnings": asked.warnings}


def _shown(here: Desk, job_id: str) -> Mapping[str, Any]:
    job = here.job_of(caller().tenant, job_id)
    return job_body(job, here.progress([job]).get(job_id))
