"""What an HTTP reply of the provider means, as values of the domain. Refuses I/O, and any guess about a create."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tasks.domain.answers import (
    Accepted,
    Completed,
    CreateOutcome,
    Failed,
    KeyRefused,
    LookAgain,
    NotFound,
    PollAnswer,
    Rejected,
    Running,
    Throttled,
    Unknown,
)
from tasks.domain.retry_after import retry_after
from tasks.vtrix.errors import CODES, UNKNOWN_CODE, Reaction, describe, reaction_to
from tasks.vtrix.redact import readable
from tasks.vtrix.stamps import took_s
from tasks.vtrix.wire import TaskAnswer, WireError, may_hold_id, progress_of, read_answer

_NO_ANSWER_4XX: Final = frozenset({408, 409, 425, 499})
"""Statuses that do not say whether the request was carried out: time-out, conflict, too early, client gone."""
_KEY_STATUSES: Final = frozenset({401, 402, 403})
_COMPLETED: Final = frozenset({"completed", "done"})
_FAILED: Final = frozenset({"failed"})
_RUNNING: Final = frozenset({"in_progress", "processing"})
_TABLE_CODES: Final = frozenset(entry.code for entry in CODES)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP reply. `retry_after` is the header as it came."""

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None = None


def create_outcome(reply: Reply, *, now: datetime, hide: Iterable[str] = ()) -> CreateOutcome:
    """What a reply to a create means.

    429 is `Throttled`. Another 4xx that says no, and a 2xx without an id but with an error, is a refusal: of the key,
    of the pace, or of the request, by status and code. A 2xx with an id is `Accepted`, even if it tells of a failure:
    there is a task, and a poll tells the rest. All else is `Unknown`, and so is what contradicts itself. `hide`
    names texts that no message may contain.
    """
    if 300 <= reply.status < 400 or not 200 <= reply.status < 500:
        return Unknown(f"HTTP {reply.status}", reply.status)
    answer = read_answer(reply.body)
    retry_after_s = retry_after(reply.retry_after, now)
    envelope = answer.http_code if answer and answer.http_code and answer.http_code >= 400 else None
    if reply.status >= 400 and (_has_id(answer) if answer else may_hold_id(reply.body)):
        return Unknown(f"HTTP {reply.status} with a task id", reply.status)
    if answer and not _has_id(answer) and answer.status in _RUNNING | _COMPLETED:
        return Unknown("answer of a task at work, without its id", reply.status)
    if reply.status >= 400:
        # A plain 400 is made precise by its envelope; any other status is precise enough.
        meant = envelope if envelope and envelope < 500 and reply.status == 400 else reply.status
        return _refusal(meant, reply.status, _error_of(answer), retry_after_s, hide)
    if answer is None:
        return Unknown("unreadable answer", reply.status)
    if answer.task_id:
        return Accepted(answer.task_id)
    if answer.id_unreadable:
        return Unknown("unreadable task id", reply.status)
    if envelope and envelope >= 500:
        return Unknown(f"HTTP {reply.status} around {envelope}", reply.status)
    error = answer.error or _listed(answer.bare_error)
    if error is None and envelope is None:
        return Unknown("answer without task id and without error", reply.status)
    return _refusal(envelope or reply.status, reply.status, error, retry_after_s, hide)


def poll_answer(reply: Reply, provider_task_id: str, *, now: datetime, hide: Iterable[str] = ()) -> PollAnswer:
    """What a reply to a poll means. Only the task's own status word ends it; all that says nothing is `LookAgain`.

    An unknown status word is running, and marked. `Completed` may have no outputs, when the provider named none with a
    URL: what to do about that is the caller's decision.
    """
    if reply.status == 200:
        at_work = progress_of(reply.body, provider_task_id, _RUNNING)
        if at_work is not None:
            return Running(*at_work)
    retry_after_s = retry_after(reply.retry_after, now)
    answer = read_answer(reply.body)
    if not 200 <= reply.status < 300:
        return _no_look(reply.status, _error_of(answer), retry_after_s)
    if answer is None:
        return LookAgain("unreadable answer")
    if answer.status is None:
        error = answer.error or _listed(answer.bare_error)
        return _no_look(answer.http_code or reply.status, error, retry_after_s)
    if answer.id_unreadable or answer.task_id not in {None, provider_task_id}:
        return LookAgain("answer about another task")
    if answer.status in _COMPLETED:
        return Completed(answer.outputs, answer.usage, answer.metadata, took_s(answer.metadata))
    if answer.status in _FAILED:
        error = _error_of(answer) or WireError(UNKNOWN_CODE, "")
        return Failed(_code(error, hide), _sentence(error, hide), answer.usage, answer.metadata)
    return Running(answer.progress, status_known=answer.status in _RUNNING)


def _has_id(answer: TaskAnswer) -> bool:
    return answer.task_id is not None or answer.id_unreadable


def _error_of(answer: TaskAnswer | None) -> WireError | None:
    return None if answer is None else answer.error or answer.bare_error


def _listed(error: WireError | None) -> WireError | None:
    """A bare error in a 2xx answer counts only with a code of the table: `"message": "ok"` is none."""
    return error if error is not None and error.code in _TABLE_CODES else None


def _refusal(
    meant_status: int, http_status: int, error: WireError | None, retry_after_s: float | None, hide: Iterable[str]
) -> CreateOutcome:
    """What a definite no refuses. `meant_status` is the envelope's where there is one, else `http_status`."""
    if meant_status in _NO_ANSWER_4XX:
        return Unknown(f"HTTP {meant_status}", http_status)
    error = error or WireError(UNKNOWN_CODE, "")
    message = _sentence(error, hide)
    # By what is left without the prompt: a refusal may quote it, and its words are not the provider's.
    reaction = reaction_to(error.code, message)
    if meant_status == 429 or reaction is Reaction.SLOW_DOWN:
        return Throttled(retry_after_s)
    shown = _code(error, hide)
    code = shown if shown != UNKNOWN_CODE or meant_status < 400 else f"http_{meant_status}"
    # A code that blames the request outweighs a 403: one bad request must not pause the key for all.
    if reaction is Reaction.PAUSE_KEY or (meant_status in _KEY_STATUSES and reaction is not Reaction.FAIL_REQUEST):
        return KeyRefused(code, message, http_status)
    return Rejected(code, message, http_status)


def _no_look(status: int, error: WireError | None, retry_after_s: float | None) -> PollAnswer:
    """A poll that said nothing about the task, or that there is none."""
    if status == 404:
        return NotFound()
    reaction = reaction_to(error.code, error.message) if error else None
    key_refused = status in _KEY_STATUSES or (reaction is Reaction.PAUSE_KEY and status < 500)
    what = f"HTTP {status}" if status >= 300 else "answer without status"
    return LookAgain(what, retry_after_s, key_refused, throttled=status == 429 or reaction is Reaction.SLOW_DOWN)


def _code(error: WireError, hide: Iterable[str]) -> str:
    """The provider's code, unless it is no code of the table and would repeat what is hidden."""
    return error.code if error.code in _TABLE_CODES or readable(error.code, hide) == error.code else UNKNOWN_CODE


def _sentence(error: WireError, hide: Iterable[str]) -> str:
    """The provider's sentence fit for people; without one, what its code means."""
    return readable(error.message, hide) or describe(error.code).meaning
