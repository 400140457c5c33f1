"""Makes series of what was read from ledger and Redis. Owns which tenants are named: those with a budget and those with
most jobs; all others are one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from tasks.domain.budgets import EVERYONE, Budget
from tasks.domain.figures import counted, spread
from tasks.domain.pauses import Scope
from tasks.domain.transitions import OPEN
from tasks.ledger.gauges import LedgerGauges, StateFigures
from tasks.pulse.gauges import PulseGauges
from workers.metrics import catalog
from workers.metrics.catalog import Gauge, Histogram, Sum

TENANTS_MOST: Final = 20
"""Tenants without a budget that are named."""
OTHERS: Final = "other"
ALL_TENANTS: Final = "*"
"""In the place of a tenant's name, which no tenant can have."""


def single(gauge: Gauge, value: float) -> GaugeMetricFamily:
    """A series without labels."""
    return labelled(gauge, {(): value})


def labelled(gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    """A series for each combination of labels."""
    family = gauge.family()
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def of_ledger(read: LedgerGauges, open_limit: int, now: datetime) -> Iterator[GaugeMetricFamily]:
    """`open_limit`: the slots of a key that has no limit of its own."""
    states = {state: read.states.get(state, StateFigures()) for state in sorted(OPEN)}
    yield labelled(catalog.JOBS, {(state,): each.jobs for state, each in states.items()})
    yield labelled(catalog.JOBS_OLDEST, {(state,): each.oldest_s for state, each in states.items()})
    yield single(catalog.JOBS_PAUSED, read.paused)
    yield single(catalog.JOBS_LAPSED, read.lapsed)
    yield from _of_tenants(read, now)
    yield labelled(catalog.SLOTS_USED, {(each.alias,): each.open_tasks for each in read.keys})
    limits = {each.alias: open_limit if each.open_limit is None else each.open_limit for each in read.keys}
    yield labelled(catalog.SLOTS_LIMIT, {(alias,): limit for alias, limit in limits.items()})
    yield labelled(catalog.KEY_STOPPED, {(each.alias,): each.stopped for each in read.keys})
    yield labelled(catalog.KEY_PAUSED, {(each.alias,): each.closed for each in read.keys})
    yield labelled(catalog.PAUSED, {(scope,): sum(each.scope is scope for each in read.pauses) for scope in Scope})
    yield single(catalog.HELD, float(sum(each.held_usd for each in read.under_way)))
    yield labelled(catalog.SPENT, {(period,): float(amount) for period, amount in read.spent_usd.items()})
    yield from _of_budgets(read)
    yield single(catalog.STRAYS, read.strays)
    yield single(catalog.DELIVERIES, read.pending_deliveries)
    yield single(catalog.DELIVERIES_LATE, read.deliveries_late_s)


def _of_tenants(read: LedgerGauges, now: datetime) -> Iterator[GaugeMetricFamily]:
    waiting = Counter({line.tenant: line.waiting for line in read.lines})
    slots: Counter[str] = Counter()
    for each in read.under_way:
        slots[each.tenant] += each.tasks
    named = _named({each.tenant for each in read.budgets}, waiting + slots)
    ages: dict[str, float] = {}
    for line in read.lines:
        name, age_s = named.get(line.tenant, OTHERS), (now - line.oldest_accepted_at).total_seconds()
        ages[name] = max(ages.get(name, 0.0), age_s)
    yield labelled(catalog.TENANT_QUEUED, _summed(waiting, named))
    yield labelled(catalog.TENANT_OLDEST, {(name,): age_s for name, age_s in ages.items()})
    yield labelled(catalog.TENANT_OPEN, _summed(slots, named))


def _named(with_budget: Iterable[str], jobs: Counter[str]) -> dict[str, str]:
    """The tenants that have a series of their own, each with its name there."""
    budgeted = set(with_budget) - {EVERYONE}
    largest = [name for name, _ in jobs.most_common() if name not in budgeted][:TENANTS_MOST]
    return {name: name for name in (*sorted(budgeted), *largest)}


def _summed(counts: Counter[str], named: Mapping[str, str]) -> dict[tuple[str, ...], float]:
    sums: Counter[str] = Counter()
    for tenant, count in counts.items():
        sums[named.get(tenant, OTHERS)] += count
    return {(name,): count for name, count in sums.items()}


def _of_budgets(read: LedgerGauges) -> Iterator[GaugeMetricFamily]:
    budgets: dict[tuple[str, ...], Budget]
    budgets = {(each.tenant or ALL_TENANTS, each.period): each for each in read.budgets}
    yield labelled(catalog.BUDGET_LIMIT, {labels: float(each.limit_usd) for labels, each in budgets.items()})
    yield labelled(catalog.BUDGET_USED, {labels: float(each.used_usd) for labels, each in budgets.items()})
    left = {labels: float(each.limit_usd - each.used_usd) for labels, each in budgets.items()}
    yield labelled(catalog.BUDGET_LEFT, left)


def of_redis(read: PulseGauges, lane_ttl_s: float) -> Iterator[Metric]:
    """`lane_ttl_s`: for how long a sign of life holds."""
    yield labelled(catalog.INTAKE, {(name,): each.entries for name, each in read.streams.items()})
    yield labelled(catalog.INTAKE_OLDEST, {(name,): each.oldest_s for name, each in read.streams.items()})
    yield labelled(catalog.MESSAGES, {(queue,): count for queue, count in read.queues.items()})
    yield single(catalog.LOOKS, read.looks)
    yield single(catalog.LOOKS_LATE, read.looks_late_s)
    yield single(catalog.SPOOLED, read.spooled)
    yield single(catalog.WHOLE, read.is_whole)
    yield labelled(catalog.LANE_UP, {(lane,): left_s is not None for lane, left_s in read.lanes_left_s.items()})
    alive = {lane: left_s for lane, left_s in read.lanes_left_s.items() if left_s is not None}
    yield labelled(catalog.LANE_SILENT, {(lane,): max(0.0, lane_ttl_s - left_s) for lane, left_s in alive.items()})
    yield from (_sum(each, read.tally) for each in catalog.SUMS)
    yield from (_histogram(each, read.tally) for each in catalog.HISTOGRAMS)


def _sum(what: Sum, tally: Mapping[str, int]) -> CounterMetricFamily:
    family = what.family()
    # What can be told beforehand is there from the start: what begins at its first value has no rate.
    begun = {(word,): 0.0 for word in what.of.words} if what.labels else {(): 0.0}
    for labels, value in (begun | counted(what.of, tally)).items():
        family.add_metric(labels, value)
    return family


def _histogram(what: Histogram, tally: Mapping[str, int]) -> HistogramMetricFamily:
    family = what.family()
    bounds = [*map(floatToGoString, what.of.bounds_s), "+Inf"]
    for labels, found in spread(what.of, tally).items():
        family.add_metric(labels, [*zip(bounds, accumulate(found.counts), strict=True)], found.sum_s)
    return family
