"""What has to hold between settings: each rule is a promise that would quietly break otherwise. Reads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tasks.policy import LONGEST_DAYS, Policy, days_problem
from workers.limits import GatewayLimits, HttpLimits

_LONGEST_IDLE_S: Final = 2.0
_LARGEST_POLL_BATCH: Final = 400


def problems_between(policy: Policy, http: HttpLimits, gateway: GatewayLimits) -> dict[str, str]:
    """What can't be set so beside the rest, by variable; empty when all of it holds together."""
    rules = (*_leases(policy, http), *_bounds(policy, gateway))
    return _days(policy) | {f"REELWORKS_{name}": sentence for name, holds, sentence in rules if not holds}


def _leases(policy: Policy, http: HttpLimits) -> Iterator[tuple[str, bool, str]]:
    """What is held must outlast what it is held for."""
    yield (
        "CREATE_LEASE_S",
        policy.create_lease_s > policy.create_start_s + http.create_total_s + http.connect_s,
        (
            "must be above REELWORKS_CREATE_START_S + REELWORKS_HTTP_CREATE_TOTAL_S + REELWORKS_HTTP_CONNECT_S, "
            "or a running create looks lost"
        ),
    )
    yield (
        "LANE_TTL_S",
        policy.lane_ttl_s > http.poll_total_s + policy.lane_idle_s,
        "must be above REELWORKS_HTTP_POLL_TOTAL_S + REELWORKS_LANE_IDLE_S, or a living lane is seeded again",
    )
    yield (
        "POLL_LEASE_S",
        policy.poll_lease_s > http.poll_total_s + http.connect_s,
        "must be above REELWORKS_HTTP_POLL_TOTAL_S + REELWORKS_HTTP_CONNECT_S, or a task is asked about twice",
    )
    yield (
        "SWEEP_INTERVAL_S",
        policy.sweep_interval_s < policy.lane_ttl_s,
        "must be below REELWORKS_LANE_TTL_S, or the sweep is always seeded again",
    )


def _bounds(policy: Policy, gateway: GatewayLimits) -> Iterator[tuple[str, bool, str]]:
    yield (
        "POLL_BATCH",
        policy.poll_batch <= _LARGEST_POLL_BATCH,
        f"must be at most {_LARGEST_POLL_BATCH}: each look may need a connection, the turn before as well",
    )
    yield (
        "LANE_IDLE_S",
        policy.lane_idle_s <= _LONGEST_IDLE_S,
        f"must be at most {_LONGEST_IDLE_S:g}: reading the stream waits for so long",
    )
    yield (
        "GATEWAY_WAITS_MOST",
        gateway.waits_most < gateway.threads,
        "must be below REELWORKS_GATEWAY_THREADS, or those that wait leave no thread for the others",
    )


def _days(policy: Policy) -> dict[str, str]:
    given = {"REELWORKS_OUTPUTS_DAYS": policy.outputs_days, "REELWORKS_JOBS_DAYS": policy.jobs_days}
    # The longest is in the past of every calendar; what is no number is above it as well.
    problems = {
        name: f"must be at most {LONGEST_DAYS:g}; 0 keeps them for good"
        for name, days in given.items()
        if not days <= LONGEST_DAYS
    }
    problem = days_problem(policy.outputs_days, policy.jobs_days)
    return problems or ({} if problem is None else {"REELWORKS_JOBS_DAYS": problem})
