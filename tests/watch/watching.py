"""Makes one trouble after the other in a scene, and takes the time until Prometheus says that the alerts fire, and that
they are gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.watch.faults import Fault, Place
from tests.watch.rules import Rule
from tests.watch.scene import Scene, scene

_LOOK_S: Final = 0.5
_FEED_S: Final = 1.0
_MARGIN_S: Final = 120.0
"""What a rule may take beyond its own durations: leases that run out, pauses, scrapes."""


@dataclass(frozen=True, slots=True)
class Patience:
    """`short_s`: what no shortened rule takes longer than. `hold_s`: rules that take no longer are waited for as they
    stand, too."""

    short_s: float
    hold_s: float

    def factor(self, rule: Rule) -> float:
        return rule.factor(self.short_s)

    def stands(self, rule: Rule) -> bool:
        """Whether the rule is waited for as it stands."""
        return self.factor(rule) == 1 or rule.takes_s <= self.hold_s

    def awaited(self, rule: Rule) -> set[tuple[str, bool]]:
        """What Prometheus has to say of it."""
        forms = {(rule.name, False)} if self.stands(rule) else set()
        return forms | ({(rule.name, True)} if self.factor(rule) > 1 else set())

    def judged(self, rule: Rule) -> tuple[str, bool]:
        """The form whose end is waited for: of those that were shortened the short one."""
        return (rule.name, self.factor(rule) > 1)


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one alert. Times in seconds, `None` for what did not happen: from the fault until it fired
    (shortened, as it stands), from the beginning of the mending until it was gone."""

    rule: Rule
    how: str
    factor: float
    short_s: float | None = None
    stands_s: float | None = None
    gone_s: float | None = None
    trouble: str = ""


def watch(
    place: Place, folder: Path, rules: Mapping[str, Rule], patience: Patience, say: Callable[[str], None]
) -> list[Seen]:
    """All faults of a place, one after the other, in a scene of its own."""
    found: list[Seen] = []
    with scene(
        folder,
        list(rules.values()),
        patience.short_s,
        on_postgres=place.on_postgres,
        disk_bytes=place.disk_bytes,
        **place.settings,
    ) as here:
        say(f"{place.name}: the stack is up in {folder}")
        for fault in place.faults:
            found += _one(here, fault, [rules[name] for name in fault.alerts], patience, say)
        unhealthy = here.prometheus.unhealthy_rules()
    if unhealthy:
        raise AssertionError(f"Prometheus can't work these rules out: {unhealthy}")
    return found


def _one(
    here: Scene, fault: Fault, rules: Sequence[Rule], patience: Patience, say: Callable[[str], None]
) -> list[Seen]:
    awaited = set[tuple[str, bool]]().union(*(patience.awaited(rule) for rule in rules))
    names = ", ".join(rule.name.removeprefix("Reelworks") for rule in rules)
    fault.before(here)
    early = here.prometheus.firing() & awaited
    fired = dict[tuple[str, bool], float]()
    try:
        begun = time.monotonic()
        fault.cause(here)
        say(f"{names}: {fault.how}")
        limit_s = max(_limit_s(rule, patience) for rule in rules)
        fired = _times(here, awaited, begun, limit_s, lambda now: now, fault.keep_up)
    finally:
        mended = time.monotonic()
        fault.mend(here)
    say(f"{names}: mended after {mended - begun:.0f} s; not fired: {sorted(awaited - fired.keys()) or 'none'}")
    ends = {patience.judged(rule) for rule in rules} & fired.keys()
    window_s = max(rule.window_s / patience.factor(rule) for rule in rules)
    gone = _times(here, ends, mended, window_s + _MARGIN_S, lambda now: ends - now)
    seen = [_seen(rule, fault, patience, fired, gone, early) for rule in rules]
    for each in seen:
        say(
            f"{each.rule.name}: fired after {_told(each.short_s)} shortened, {_told(each.stands_s)} as it stands, "
            f"gone after {_told(each.gone_s)} {each.trouble}"
        )
    return seen


def _told(taken_s: float | None) -> str:
    return "-" if taken_s is None else f"{taken_s:.0f} s"


def _limit_s(rule: Rule, patience: Patience) -> float:
    factor = 1.0 if patience.stands(rule) else patience.factor(rule)
    # What was well before looks well for as long as the rule looks back.
    return (rule.takes_s + rule.window_s) / factor + _MARGIN_S


def _times(
    here: Scene,
    awaited: set[tuple[str, bool]],
    since: float,
    limit_s: float,
    those: Callable[[set[tuple[str, bool]]], set[tuple[str, bool]]],
    keep_up: Callable[[Scene], None] | None = None,
) -> dict[tuple[str, bool], float]:
    """After how many seconds each of the awaited was among `those` of the alerts that fire, if it ever was."""
    found: dict[tuple[str, bool], float] = {}
    fed_at = time.monotonic()
    while awaited - found.keys() and time.monotonic() - since < limit_s:
        for each in (those(here.prometheus.firing()) & awaited) - found.keys():
            found[each] = time.monotonic() - since
        if keep_up is not None and time.monotonic() - fed_at >= _FEED_S:
            keep_up(here)
            fed_at = time.monotonic()
        time.sleep(_LOOK_S)
    return found


def _seen(
    rule: Rule,
    fault: Fault,
    patience: Patience,
    fired: Mapping[tuple[str, bool], float],
    gone: Mapping[tuple[str, bool], float],
    early: set[tuple[str, bool]],
) -> Seen:
    made = Seen(
        rule,
        fault.how,
        patience.factor(rule),
        short_s=fired.get((rule.name, True)),
        stands_s=fired.get((rule.name, False)),
        gone_s=gone.get(patience.judged(rule)),
    )
    if early & patience.awaited(rule):
        return replace(made, trouble="it fired before its fault was made")
    if patience.awaited(rule) - fired.keys():
        return replace(made, trouble="it did not fire")
    if made.gone_s is None:
        return replace(made, trouble="it went on firing after its fault was mended")
    return made
