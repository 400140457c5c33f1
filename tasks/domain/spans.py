"""A job's trace as values: spans with their instants, figures and ids. Pure; nothing here is specific to a library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took from `began` to `ended`. `attributes`: ids, words of ours and figures; never a text, an
    address or a key. `outward`: a call of somebody else's server.
    """

    name: str
    began: datetime
    ended: datetime
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    failed: bool = False
    outward: bool = False
    children: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans of a job from its acceptance, or its being tried again, to its end. `traceparent`: of the caller's
    span, whose child `root` is; `None`: a trace of its own, which the job's id names.
    """

    job_id: str
    traceparent: str | None
    root: Span
