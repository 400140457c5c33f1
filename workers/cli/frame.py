"""The picture that `top` shows: made of what was read, once; owns the layout, and reads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.text import Text

from schemas.jobs import State
from tasks.domain.budgets import EVERYONE
from tasks.domain.transitions import OPEN
from tasks.ledger.gauges import LedgerGauges, StateFigures
from tasks.ledger.standings import KeyStanding
from tasks.pulse.gauges import PulseGauges
from workers.cli.common import table
from workers.cli.formats import duration, instant, key_state, pause_line, usd

FAILURES_S: Final = 3600.0
"""So far back failures are counted."""
_TENANTS_MOST: Final = 10
_FAILURES_MOST: Final = 8
_LATE_S: Final = 30.0
"""From so many seconds on it stands out, as the alert does."""
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Frame:
    """How the whole stands at one moment. `redis` is `None` while it is away, and `away` says by what error.

    `failed`: jobs that failed within `FAILURES_S`, by code. `lane_ttl_s`: for how long a lane's sign of life holds.
    """

    at: datetime
    ledger: LedgerGauges
    keys: Sequence[KeyStanding]
    failed: Mapping[str, int]
    redis: PulseGauges | None
    away: str | None
    lane_ttl_s: float


def drawn(frame: Frame) -> RenderableType:
    """The picture: a head, and parts side by side as far as there is room."""
    parts = [_jobs(frame), _keys(frame), _tenants(frame), _money(frame), _failures(frame)]
    if frame.redis is not None:
        parts += [_lanes(frame.redis, frame.lane_ttl_s), _waiting_in_redis(frame.redis)]
    return Group(*_head(frame), Columns(parts, padding=(1, 4)))


def _head(frame: Frame) -> Iterator[Text]:
    yield Text(f"Reelworks at {instant(frame.at)}", "bold")
    for each in frame.ledger.pauses:
        yield Text(pause_line(each), "yellow")
    if frame.redis is None:
        yield Text(f"Redis does not answer ({frame.away}): lanes, looks and queues are not known.", "red")
    elif not frame.redis.is_whole:
        yield Text("Redis has lost its data, and the timetable is not filled again yet.", "yellow")


def _part(title: str, shown: RenderableType) -> RenderableType:
    return Group(Text(title, "bold cyan"), shown)


def _jobs(frame: Frame) -> RenderableType:
    rows = table("state", "jobs", "oldest", right=("jobs", "oldest"))
    for state in (each for each in State if each in OPEN):
        figures = frame.ledger.states.get(state, StateFigures())
        style = "yellow" if state is State.UNCERTAIN and figures.jobs else ""
        rows.add_row(state, str(figures.jobs), duration(figures.oldest_s) if figures.jobs else "-", style=style)
    return _part("Jobs", rows)


def _keys(frame: Frame) -> RenderableType:
    rows = table("key", "slots", "state", right=("slots",))
    for each in frame.keys:
        slots = f"{each.open_tasks}/{each.open_limit}"
        rows.add_row(Text(each.key.alias), slots, Text(key_state(each)), style="yellow" if each.paused else "")
    return _part("Slots", rows if frame.keys else Text("No key is in use, and none is configured here."))


def _tenants(frame: Frame) -> RenderableType:
    waiting = {line.tenant: line for line in frame.ledger.lines}
    open_now: dict[str, int] = {}
    for each in frame.ledger.under_way:
        open_now[each.tenant] = open_now.get(each.tenant, 0) + each.tasks
    names = {*waiting, *(name for name, tasks in open_now.items() if tasks)}

    def jobs_of(name: str) -> int:
        return open_now.get(name, 0) + (waiting[name].waiting if name in waiting else 0)

    rows = table("tenant", "waiting", "slots", "oldest", right=("waiting", "slots", "oldest"))
    for name in sorted(names, key=lambda each: (-jobs_of(each), each))[:_TENANTS_MOST]:
        line = waiting.get(name)
        oldest = "-" if line is None else duration((frame.at - line.oldest_accepted_at).total_seconds())
        rows.add_row(Text(name), str(0 if line is None else line.waiting), str(open_now.get(name, 0)), oldest)
    if len(names) > _TENANTS_MOST:
        rows.add_row(f"and {len(names) - _TENANTS_MOST} more")
    return _part("Tenants", rows if names else Text("Nobody waits, and nothing is open."))


def _money(frame: Frame) -> RenderableType:
    rows = table("budget", "used", "of", right=("used", "of"))
    for period, spent in frame.ledger.spent_usd.items():
        rows.add_row(f"spent this {period}", usd(spent), "")
    rows.add_row("held for what is under way", usd(sum((each.held_usd for each in frame.ledger.under_way), _ZERO)), "")
    for each in frame.ledger.budgets:
        whose = "all" if each.tenant == EVERYONE else each.tenant
        style = "yellow" if each.used_usd >= each.limit_usd else ""
        rows.add_row(Text(f"{whose} a {each.period}"), usd(each.used_usd), usd(each.limit_usd), style=style)
    return _part("Money", rows)


def _failures(frame: Frame) -> RenderableType:
    if not frame.failed:
        return _part("Failed in the last hour", Text("None."))
    rows = table("code", "jobs", right=("jobs",))
    for code, number in list(frame.failed.items())[:_FAILURES_MOST]:
        rows.add_row(Text(code), str(number))
    if len(frame.failed) > _FAILURES_MOST:
        rows.add_row("other", str(sum(list(frame.failed.values())[_FAILURES_MOST:])))
    return _part("Failed in the last hour", rows)


def _lanes(redis: PulseGauges, lane_ttl_s: float) -> RenderableType:
    rows = table("lane", "last sign of life", right=("last sign of life",))
    for lane, left_s in redis.lanes_left_s.items():
        if left_s is None:
            rows.add_row(lane, "silent", style="red")
        else:
            rows.add_row(lane, f"{duration(lane_ttl_s - left_s)} ago")
    late = redis.looks_late_s > _LATE_S
    rows.add_row("looks", f"late by {duration(redis.looks_late_s)}", style="red" if late else "")
    return _part("Lanes", rows)


def _waiting_in_redis(redis: PulseGauges) -> RenderableType:
    rows = table("in Redis", "entries", "oldest", right=("entries", "oldest"))
    for name, stream in redis.streams.items():
        late = stream.entries and stream.oldest_s > _LATE_S
        oldest = duration(stream.oldest_s) if stream.entries else "-"
        rows.add_row(f"stream {name}", str(stream.entries), oldest, style="red" if late else "")
    for name, number in redis.queues.items():
        rows.add_row(f"queue {name}", str(number), "-")
    rows.add_row("looks planned", str(redis.looks), "-")
    return _part("Messages", rows)
