"""The provider's JSON: the answers to creates and polls, callbacks and refusals, with the variants that clients meet.

Owns every key and form on the wire. Refuses to decide which variant: the task's plan says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from .exchange import Reply, json_reply
from .scenario import PollPlan
from .tasks import OutputFile, Task

_BEYOND_FLOATS: Final = "\0beyond floats"
"""Stands for a number in a body until it is JSON text: no Python number is written as 1e400."""
_BEYOND_FLOATS_TEXT: Final = json.dumps(_BEYOND_FLOATS)

_UPSTREAM_CODE: Final = {400: 2013, 401: 2049, 403: 1008, 404: 2013, 429: 1002, 500: 1033}


def encoded(body: Any) -> bytes:
    """A body as JSON, with numbers that are none where a plan asks for them: `NaN`, `1e400`."""
    return json.dumps(body).replace(_BEYOND_FLOATS_TEXT, "1e400").encode()


def refusal(status: int, message: str, form: Any = "error_object", headers: Mapping[str, str] | None = None) -> Reply:
    """A 4xx or 5xx answer. `form` names one of the bodies that clients have seen; anything else is sent as it is."""
    code = _UPSTREAM_CODE.get(status, status)
    forms = {
        "message": {"message": message},
        "error": {"error": message},
        "error_object": {"error": {"code": code, "message": message}},
        "status_object": {"status": {"code": status, "message": message, "error_code": status * 100 + 1}, "data": None},
    }
    body = forms.get(form, form) if isinstance(form, str) else form
    return json_reply(status, body, headers)


def created(task: Task) -> Reply:
    """The answer to an accepted create."""
    return json_reply(200, {**_identity(task), "status": "in_progress", "model": task.order.model})


def prepare_poll(task: Task) -> None:
    """Renders the in-progress answer once, around the place where the progress goes: most calls are polls."""
    body: dict[str, Any] = {"id": task.id, "status": task.plan.poll.words.get("in_progress", "in_progress")}
    head, tail = json.dumps(body)[:-1], json.dumps({"created_at": int(task.created_s), "model": task.order.model})[1:]
    shown = task.plan.poll.progress == "fraction"
    task.poll_head = (head + (', "progress": ' if shown else "")).encode()
    task.poll_tail = (", " + tail).encode()


def running(task: Task, progress: float) -> bytes:
    """The body of a poll of a task in progress."""
    shown = b"%.3f" % progress if task.plan.poll.progress == "fraction" else b""
    return task.poll_head + shown + task.poll_tail


def ended(task: Task, link: Callable[[OutputFile], str]) -> dict[str, Any]:
    """The body of a poll of a task that has ended. `link` signs the URL of an output."""
    plan = task.plan.poll
    body: dict[str, Any] = {
        **_identity(task),
        "status": plan.words.get(task.status, task.status),
        "model": task.order.model,
    }
    if task.status == "completed":
        if plan.progress == "fraction":
            body["progress"] = 1
        if task.plan.output.count is not None:
            body["output"] = [{"content": [_content(task, file, link) for file in files]} for files in task.outputs]
    else:
        body["error"] = _error(task)
    if plan.usage == "present" or (plan.usage == "by_outcome" and task.status == "completed"):
        body["usage"] = {**_cost(plan, task.cost_usd), "discount": plan.discount, **plan.usage_extra}
    if plan.metadata != "missing":
        body["metadata"] = _metadata(task)
    return body


def _identity(task: Task) -> dict[str, Any]:
    return {"id": task.id, "created_at": int(task.created_s)}


def _content(task: Task, file: OutputFile, link: Callable[[OutputFile], str]) -> dict[str, Any]:
    content: dict[str, Any] = {"type": file.type, "url": task.plan.output.url or link(file)}
    if task.plan.output.say_duration and file.duration_s is not None:
        content |= {"duration": file.duration_s, "jobId": f"{task.id}-{file.name.partition('.')[0]}"}
    return content


def _cost(plan: PollPlan, cost_usd: Decimal | None) -> dict[str, Any]:
    cost_usd = cost_usd if cost_usd is not None else Decimal(0)
    forms: dict[str, Any] = {
        "string": str(cost_usd),
        "number": float(cost_usd),
        "empty": "",
        "null": None,
        "garbage": "n/a",
        "negative": str(-(cost_usd or Decimal("0.01"))),
        "negative_number": -float(cost_usd or Decimal("0.01")),
        "nan": "NaN",
        "nan_number": float("nan"),
        "huge": "1e400",
        "huge_number": _BEYOND_FLOATS,
    }
    return {} if plan.cost_form == "missing" else {"cost": forms[plan.cost_form]}


def _error(task: Task) -> Any:
    code, message = task.error or (task.plan.poll.code, task.plan.poll.message)
    form = task.plan.poll.error_form
    return message if form == "string" else {"code": code, form: message}


def _metadata(task: Task) -> dict[str, Any]:
    def instant(epoch_s: float | None) -> str | None:
        return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="seconds")

    metadata = {"in_queue_at": instant(task.created_s), "completed_at": instant(task.ended_s)}
    if task.plan.poll.metadata == "full":
        metadata["upload_at"] = instant(task.ended_s)
    return metadata


def callback(task: Task, status: str, link: Callable[[OutputFile], str]) -> dict[str, Any]:
    """The body of a status callback: the upstream's own form, or the gateway's task object. `status`: as in a poll."""
    if task.plan.callback.form == "task" and status != "in_progress":
        return ended(task, link)
    return claim(task, task.id, status)


def claim(task: Task, task_id: str, status: str) -> dict[str, Any]:
    """What a callback in the form of `task`'s says of any task and status, true or not."""
    if task.plan.callback.form == "task":
        return {**_identity(task), "id": task_id, "status": status, "model": task.order.model}
    word = {"in_progress": "processing", "completed": "success", "failed": "failed"}[status]
    ok = status != "failed"
    return {
        "task_id": task_id,
        "status": word,
        "base_resp": {"status_code": 0 if ok else 1033, "status_msg": "success" if ok else "system error"},
    }
