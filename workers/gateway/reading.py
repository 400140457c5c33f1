"""Reads what callers send: JSON bodies, and the headers that say how to treat them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from schemas.errors import Problem, RequestInvalid
from schemas.requests import GenerationRequest, parse_request
from workers.gateway.auth import caller
from workers.gateway.problems import Trouble

_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?:$|[,;])", re.ASCII | re.IGNORECASE)


def json_body() -> Any:
    """The body as JSON values; an empty one is an object without fields. Raises `Trouble` (400, 413, 415)."""
    if request.mimetype and not (request.mimetype == "application/json" or request.mimetype.endswith("+json")):
        raise Trouble(415, "unsupported_media_type", "Send application/json.")
    data = request.get_data(cache=False)
    most = request.max_content_length
    if request.content_length is None and most is not None and len(data) >= most:
        # Sent in chunks, of which no more than these were read.
        raise RequestEntityTooLarge
    if not data:
        return {}
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        # Where, but not what: the text may hold a prompt.
        where = f" at byte {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise Trouble(400, "not_json", f"It can't be read{where}.") from None


def object_body(*names: str) -> Mapping[str, Any]:
    """The body as an object of these fields, each of which may be missing. Raises what `json_body` does, and
    `RequestInvalid`.
    """
    body = json_body()
    if not isinstance(body, Mapping):
        raise RequestInvalid([Problem("request", "not_an_object", "must be a JSON object")])
    if unknown := sorted(map(str, body.keys() - set(names))):
        sentence = f"there is no such field; there is: {', '.join(names)}"
        raise RequestInvalid([Problem(unknown[0], "unknown_field", sentence)])
    return body


def own_request(raw: Any, idempotency_key: str | None = None) -> GenerationRequest:
    """The request in `raw`, of the caller's tenant. `idempotency_key`: of the header. Raises `RequestInvalid`."""
    if not isinstance(raw, Mapping):
        return parse_request(raw)  # says what is wrong with it
    tenant = caller().tenant
    problems = []
    if raw.get("tenant") not in (None, tenant):
        problems.append(Problem("tenant", "not_yours", f"this key is tenant {tenant}'s: leave the field out"))
    given = dict(raw) | {"tenant": tenant}
    if idempotency_key is not None:
        if given.get("idempotency_key") not in (None, idempotency_key):
            sentence = "differs from the header Idempotency-Key: give one of the two"
            problems.append(Problem("idempotency_key", "two_keys", sentence))
        given["idempotency_key"] = idempotency_key
    try:
        parsed = parse_request(given)
    except RequestInvalid as error:
        problems += error.problems
    if problems:
        raise RequestInvalid(problems)
    return parsed


def wait_s(most_s: float) -> float:
    """For how many seconds the caller would rather wait for the end of the job (`Prefer: wait=N`, RFC 7240)."""
    found = _WAIT.search(request.headers.get("Prefer", ""))
    return 0.0 if found is None else min(float(found[1]), most_s)
