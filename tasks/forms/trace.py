"""A job's trace, made of what the ledger knows of it: a span a state, and within it one for the work that was done.

So a trace says what is true, whatever died or was forgotten meanwhile, and no message has to carry anything for it.
Nothing of a prompt, a picture, an address or a sentence of the provider's is in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from schemas.jobs import State
from tasks.domain.spans import Span, Trace
from tasks.domain.transitions import Event
from tasks.ledger.reports import Attempt, JobReport, Moment
from tasks.ledger.traces import Untraced

_STATES_MOST: Final = 200
"""A job that goes back and forth in a long outage: its latest states."""
_FIGURES: Final = ("polls", "missing_s", "took_s")
"""Of the details of a change; others can be a person's words, or the provider's."""

Value = str | int | float | bool


def trace_of(report: JobReport, untraced: Untraced) -> Trace | None:
    """What is to be told of a job; `None` when that is nothing."""
    told = [each for each in report.timeline if untraced.after_seq < each.seq <= untraced.last_seq]
    if not told:
        return None
    spans = [_state(report, *each) for each in list(pairwise(told))[-_STATES_MOST:]]
    ended = told[-1]
    root = Span(
        "job",
        told[0].at,
        _not_before(ended.at, told[0].at),
        _attributes(report, told),
        failed=ended.state is State.FAILED,
        children=tuple(spans),
    )
    return Trace(untraced.id, untraced.traceparent, root)


def _attributes(report: JobReport, told: Sequence[Moment]) -> dict[str, Value]:
    job = report.job
    known: dict[str, Value | None] = {
        "job.id": job.id,
        "tenant": job.tenant,
        "model": job.model,
        "resolution": job.resolution,
        "duration_s": job.duration_s,
        "priority": job.priority,
        "state": told[-1].state.value,
        "creates": len(report.attempts),
        "polls": sum(int(each.detail.get("polls") or 0) for each in told),
        "outputs": len(report.outputs),
        "output_bytes": sum(each.size_bytes for each in report.outputs),
        "estimate_usd": float(job.estimate_usd),
        "charged_usd": None if job.charged_usd is None else float(job.charged_usd),
    }
    if told[-1].state is State.FAILED:
        known |= {"error.code": job.error_code, "error.stage": report.error_stage}
    return _named(known)


def _state(report: JobReport, began: Moment, ended: Moment) -> Span:
    """The span of a state, from the change that began it to the one that ended it."""
    at = _not_before(ended.at, began.at)
    figures = {name: ended.detail.get(name) for name in _FIGURES}
    children: list[Span] = []
    match began.state:
        case State.CREATING:
            calls = [each for each in report.attempts if began.at <= each.begun_at <= at]
            children += [_create(each, at) for each in calls[-1:]]
        case State.GENERATING if figures["polls"]:
            children.append(Span("polls", began.at, at, _named({"polls": figures["polls"]}), outward=True))
        case State.DOWNLOADING if ended.event == Event.STORED:
            children.append(_download(report, began, at, figures["took_s"]))
    # How long the provider says it took; of a download its own span says it.
    took_s = figures["took_s"] if began.state is State.GENERATING else None
    said = _named({"event": ended.event, "missing_s": figures["missing_s"], "took_s": took_s})
    return Span(began.state, began.at, at, said, failed=ended.state is State.FAILED, children=tuple(children))


def _create(call: Attempt, at: datetime) -> Span:
    said: dict[str, Value | None] = {
        "create": call.number,
        "key": call.key_alias,
        "outcome": call.outcome,
        "http_status": call.http_status,
        "provider_task_id": call.provider_task_id,
    }
    ended = _not_before(call.ended_at or at, call.begun_at)
    return Span("create", call.begun_at, ended, _named(said), failed=call.outcome != "accepted", outward=True)


def _download(report: JobReport, waiting: Moment, at: datetime, took_s: float | None) -> Span:
    began = waiting.at if took_s is None else _not_before(at - timedelta(seconds=took_s), waiting.at)
    said = {"outputs": len(report.outputs), "output_bytes": sum(each.size_bytes for each in report.outputs)}
    return Span("download", began, at, _named(said), outward=True)


def _not_before(instant: datetime, earliest: datetime) -> datetime:
    """A database's clock can be set back."""
    return max(instant, earliest)


def _named(known: Mapping[str, Value | None]) -> dict[str, Value]:
    return {f"reelworks.{name}": value for name, value in known.items() if value is not None}
