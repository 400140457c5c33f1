"""How the gateway says that something is wrong: problem documents (RFC 9457) with a stable `code`, and for a request
that breaks rules one entry a rule, with field and code as at every other door.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import structlog
from flask import Response, json, request
from flask_smorest import Blueprint
from marshmallow import Schema, fields
from werkzeug.exceptions import HTTPException

from schemas.errors import IdempotencyConflict, Problem, RequestInvalid
from tasks.entering import StoreFull
from tasks.forms.job import FieldProblemSchema
from tasks.ledger import LedgerError
from tasks.operating import NotPossible

log = structlog.get_logger("reelworks.gateway")

CONTENT_TYPE: Final = "application/problem+json"
_URN: Final = "urn:reelworks:problem:"
_SOON_S: Final = 5
_LATER_S: Final = 60


class ProblemSchema(Schema):
    """What went wrong, and what to do."""

    type = fields.String(required=True, metadata={"description": f"`{_URN}` and the code."})
    title = fields.String(required=True, metadata={"description": "The same for every problem of this code."})
    status = fields.Integer(required=True, metadata={"description": "The HTTP status."})
    code = fields.String(required=True, metadata={"description": "Stable, for programs."})
    detail = fields.String(metadata={"description": "This occurrence, and what to do about it."})
    errors = fields.List(
        fields.Nested(FieldProblemSchema), metadata={"description": "Every broken rule of the request."}
    )
    job_id = fields.String(metadata={"description": "The job that stands in the way."})


@dataclass
class Trouble(Exception):
    """An answer that is a problem. `retry_after_s`: when it makes sense to try again."""

    status: int
    code: str
    detail: str = ""
    errors: Sequence[Problem] = ()
    job_id: str | None = None
    retry_after_s: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.code)

    def document(self) -> dict[str, Any]:
        """The problem as JSON values."""
        given: dict[str, Any] = {
            "type": _URN + self.code,
            "title": TITLES[self.code],
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "errors": [{"field": each.field, "code": each.code, "message": each.message} for each in self.errors],
            "job_id": self.job_id,
        }
        return {name: value for name, value in given.items() if value not in ("", [], None)}

    def response(self, body: Mapping[str, Any] | None = None, content_type: str = CONTENT_TYPE) -> Response:
        """The answer; `body` stands for another door's own form of it."""
        made = Response(json.dumps(body or self.document()), self.status, content_type=content_type)
        made.headers.extend(dict(self.headers))
        if self.retry_after_s is not None:
            made.headers["Retry-After"] = str(self.retry_after_s)
        return made


TITLES: Final = {
    "bad_request": "The request can't be read.",
    "not_json": "The body is not JSON.",
    "request_invalid": "The request breaks rules.",
    "unauthorized": "No valid key was given.",
    "forbidden": "The key does not allow this.",
    "not_found": "There is nothing here.",
    "method_not_allowed": "This can't be done here.",
    "idempotency_conflict": "The idempotency key belongs to another request.",
    "not_possible": "The job is not in a state for this.",
    "too_large": "The request is too large.",
    "unsupported_media_type": "The body is in another form than JSON.",
    "too_many_requests": "There are too many requests.",
    "too_many_jobs": "There are too many jobs.",
    "too_many_calls": "There was a call like this just now.",
    "too_many_streams": "Too many callers are being waited for.",
    "unavailable": "Something that is needed does not answer.",
    "store_full": "There is no room for pictures.",
    "range_not_satisfiable": "The file has no such bytes.",
    "internal": "This should not have happened.",
}
"""Code -> title: every problem there is."""

_OF_STATUS: Final = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "request_invalid",
    429: "too_many_requests",
    503: "unavailable",
}


View = Callable[..., Any]


def refusals(blueprint: Blueprint, *statuses: int) -> Callable[[View], View]:
    """Document that a view may answer with problems of these statuses."""

    def decorate(view: View) -> View:
        for status in statuses:
            view = blueprint.alt_response(status, HTTPStatus(status).name)(view)
        return view

    return decorate


def trouble_of(error: Exception) -> Trouble:
    """The problem behind an error. Texts of errors that are not ours stay out: they can quote what was sent."""
    match error:
        case Trouble():
            return error
        case RequestInvalid():
            return Trouble(422, "request_invalid", "Nothing was stored; mend all of these.", error.problems)
        case IdempotencyConflict():
            return Trouble(409, "idempotency_conflict", f"{error}.", job_id=error.job_id)
        case NotPossible():
            return Trouble(409, "not_possible", f"{error}.")
        case StoreFull():
            detail = "Nothing was stored: the disk is all but full. Try again later."
            return Trouble(503, "store_full", detail, retry_after_s=_LATER_S)
        case HTTPException():
            return _of_http(error)
        case LedgerError() | OSError():
            log.warning("gateway_unavailable", error=type(error).__name__)
            detail = "It is not known whether anything was stored; the same idempotency key makes trying again safe."
            return Trouble(503, "unavailable", detail, retry_after_s=_SOON_S)
    log.error("gateway_failed", exc_info=error)
    return Trouble(500, "internal", "It has been logged. The same idempotency key makes trying again safe.")


def _of_http(error: HTTPException) -> Trouble:
    status = error.code or 500
    code = _OF_STATUS.get(status, "bad_request" if status < 500 else "internal")
    # What webargs collects: place -> field -> messages.
    collected = getattr(error, "data", {}).get("messages", {})
    errors = [
        Problem(str(name), "invalid", " ".join(_sentences(messages)))
        for place in collected.values()
        for name, messages in place.items()
    ]
    detail = f"It may have {request.max_content_length:,} bytes at most." if status == 413 else ""
    # `Allow` of 405, `Content-Range` of 416: what their standard asks for.
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    return Trouble(status, code, detail, errors, headers=headers)


def _sentences(messages: Any) -> list[str]:
    """Of a field's problems, which come as a list; of a list's, by the place in it."""
    if isinstance(messages, Mapping):
        return [each for inner in messages.values() for each in _sentences(inner)]
    return [str(each) for each in messages]
