"""Reads what the door `reelworks.enqueue` was sent: Celery messages (protocol 2, JSON) of any client in any language.

Such a message is no hint: it carries a whole request. So no worker pops it, which would lose it with the worker; the
lane `accept` moves it to the request stream in one step, and reads it from there.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final

from schemas.errors import Problem, RequestInvalid
from schemas.tracing import FIELD

TASK: Final = "reelworks.enqueue"


def job_id_in(raw: bytes) -> str | None:
    """The id that the sender gave the task, which is to be the job's; `None` where there is none to be found."""
    found = _header(raw, "id")
    return found if isinstance(found, str) else None


def trace_in(raw: bytes) -> Any:
    """The `traceparent` among the message's headers, where OpenTelemetry's instrumentation of Celery puts it."""
    return _header(raw, FIELD)


def _header(raw: bytes, name: str) -> Any:
    try:
        headers = _message(raw).get("headers")
    except RequestInvalid:
        return None
    return headers.get(name) if isinstance(headers, Mapping) else None


def request_in(raw: bytes) -> Any:
    """The request in a message: its one argument, or its keyword arguments. Raises `RequestInvalid`."""
    message = _message(raw)
    headers, properties = message.get("headers"), message.get("properties")
    if not isinstance(headers, Mapping) or headers.get("task") != TASK:
        raise _refusal(f"must be of the task {TASK}, by Celery's message protocol 2")
    if message.get("content-type") != "application/json":
        raise _refusal("must be JSON: set the serializer to json")
    body = message.get("body")
    if isinstance(properties, Mapping) and properties.get("body_encoding") == "base64":
        try:
            body = base64.b64decode(body if isinstance(body, str) else "", validate=True)
        except (ValueError, binascii.Error):
            raise _refusal("its body is not base64, which it says it is") from None
    args, kwargs = _arguments(body)
    if len(args) == 1 and not kwargs:
        return args[0]
    if not args:
        return kwargs
    raise _refusal("takes one argument, the request; or its fields as keyword arguments")


def _message(raw: bytes) -> Mapping[str, Any]:
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, Mapping):
        raise _refusal("is not a Celery message in JSON")
    return message


def _arguments(body: Any) -> tuple[list[Any], Mapping[str, Any]]:
    try:
        args, kwargs, *_ = json.loads(body)
    except (ValueError, TypeError, RecursionError):
        args, kwargs = None, None
    if not isinstance(args, list) or not isinstance(kwargs, Mapping):
        raise _refusal("its body is not [arguments, keyword arguments, ...]")
    return args, kwargs


def _refusal(sentence: str) -> RequestInvalid:
    return RequestInvalid([Problem("message", "message_unreadable", sentence)])
