"""A job's view as it travels: Celery's own result record in Redis, and the gateway's JSON over HTTP.

Owns both forms. The record is stored under the job's id, so that any Celery client in any language can wait for a job
(`AsyncResult(job_id)`). Refuses to fail over what it can't read: that is no view, and never an exception.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from .errors import JobCancelled, JobFailed
from .jobs import JobEvent, JobView, Output, State

_compact: Final = json.JSONEncoder(separators=(",", ":")).encode

# Celery's READY states are what makes `AsyncResult.get` return or raise; every other word is a custom state.
_CELERY_STATUS: Final = {State.COMPLETED: "SUCCESS", State.FAILED: "FAILURE", State.CANCELLED: "REVOKED"}


def encode_record(view: JobView) -> str:
    """The Celery result record (JSON) of a view.

    A running or completed job carries its info under `result`. A failed or cancelled one carries an exception there,
    because that is what a Celery client raises; the info then stands beside it under `reelworks`.
    """
    info = _info(view)
    record: dict[str, Any] = {
        "task_id": view.job_id,
        "status": _CELERY_STATUS.get(view.state, view.state.value.upper()),
        "result": info,
        "traceback": None,
        "children": [],
        "date_done": view.events[-1].at.isoformat() if view.terminal and view.events else None,
        "seq": view.seq,
    }
    if view.state is State.FAILED:
        code, message = view.error_code or "unknown", view.error_message or "The job failed."
        record |= {"result": _exception(JobFailed, view.job_id, code, message), "reelworks": info}
    elif view.state is State.CANCELLED:
        record |= {"result": _exception(JobCancelled, view.job_id), "reelworks": info}
    return _compact(record)


def _exception(kind: type[Exception], *args: str) -> dict[str, Any]:
    # The form in which Celery stores an exception; the module is the wheel's, which is what producers have installed.
    return {"exc_type": kind.__name__, "exc_module": "reelworks.errors", "exc_message": list(args)}


def decode_record(raw: str | bytes) -> JobView | None:
    """The view in a result record, or `None` when the record is not one of ours (another task's, or not readable).

    Another version's record is read as far as it is understood: fields that it does not have take their defaults;
    fields that are not known here are passed over, and so are events that led to a state that is not known here.
    """
    try:
        record = json.loads(raw)
        return _view(record["reelworks"] if "reelworks" in record else record["result"])
    except _UNREADABLE:
        return None


def decode_job(job: Any) -> JobView | None:
    """The view in a job as the gateway tells of it (`Job` of its OpenAPI document), read as far as `decode_record`."""
    try:
        error = job["error"] or {}
        told = {f"error_{name}": error.get(name) for name in ("code", "message", "stage")}
        outputs = [{"path": "", **output} for output in _items(job, "outputs")]
        return _view({**job, **told, "job_id": job["id"], "outputs": outputs})
    except _UNREADABLE:
        return None


_UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


def _view(info: Mapping[str, Any]) -> JobView:
    return JobView(
        state=State(info["state"]),
        events=tuple(_event(event) for event in _items(info, "events") if _is_known(event)),
        outputs=tuple(Output(**_typed(output, _OUTPUT_TYPES)) for output in _items(info, "outputs")),
        charged_usd=_usd(info.get("charged_usd")),
        turn_at=None if info.get("turn_at") is None else _instant(info["turn_at"]),
        **_typed(info, _VIEW_TYPES),
    )


_WORDS: Final = frozenset(state.value for state in State)
_NONE: Final = type(None)
_VIEW_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "job_id": (str,),
    "tenant": (str,),
    "model": (str,),
    "charge_estimated": (bool,),
    "error_code": (str, _NONE),
    "error_message": (str, _NONE),
    "error_stage": (str, _NONE),
    "metadata": (dict,),
}
_OUTPUT_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "index": (int,),
    "type": (str,),
    "path": (str,),
    "size_bytes": (int,),
    "sha256": (str,),
    "width": (int, _NONE),
    "height": (int, _NONE),
    "duration_s": (float, int, _NONE),
    "mismatch": (str, _NONE),
    "kept": (bool,),
}
_EVENT_TYPES: Final[Mapping[str, tuple[type, ...]]] = {"seq": (int,), "event": (str,), "state": (str,), "at": (str,)}


def _typed(raw: Mapping[str, Any], types: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """Those fields of `types` that `raw` has. Raises `TypeError` for a value of another type."""
    found = {name: raw[name] for name in types if name in raw}
    for name, value in found.items():
        if type(value) not in types[name]:
            raise TypeError(name)
    return found


def _items(info: Mapping[str, Any], name: str) -> list[Any]:
    found = info.get(name, [])
    if not isinstance(found, list):
        raise TypeError(name)
    return found


def _is_known(event: Mapping[str, Any]) -> bool:
    state = event["state"]
    return not isinstance(state, str) or state in _WORDS


def _event(raw: Mapping[str, Any]) -> JobEvent:
    fields = _typed(raw, _EVENT_TYPES)
    return JobEvent(fields["seq"], fields["event"], State(fields["state"]), _instant(fields["at"]))


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant without a zone")
    return at.astimezone(UTC)


def _usd(text: Any) -> Decimal | None:
    if text is None:
        return None
    if not isinstance(text, str) or not (amount := Decimal(text)).is_finite():
        raise ValueError("charged_usd")
    return amount


def _info(view: JobView) -> dict[str, Any]:
    return {
        "job_id": view.job_id,
        "state": view.state.value,
        "tenant": view.tenant,
        "model": view.model,
        "events": [
            {"seq": e.seq, "event": e.event, "state": e.state.value, "at": e.at.isoformat()} for e in view.events
        ],
        "outputs": [_output(output) for output in view.outputs],
        "charged_usd": None if view.charged_usd is None else str(view.charged_usd),
        "charge_estimated": view.charge_estimated,
        "error_code": view.error_code,
        "error_message": view.error_message,
        "error_stage": view.error_stage,
        "metadata": dict(view.metadata),
        **({} if view.turn_at is None else {"turn_at": view.turn_at.isoformat()}),
    }


def _output(output: Output) -> dict[str, Any]:
    said = asdict(output)
    if output.kept:
        del said["kept"]  # goes without saying
    return said
