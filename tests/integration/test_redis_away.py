"""Accepted jobs outlive a Redis that nobody reaches. That it forgets, or takes nothing, is in `test_redis_fails.py`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.proxy import Fault
from tests.support.redistrouble import Stack, Trouble, go_on_and_are_paid_once, stack_behind_proxy, until_noticed


def fault(fault: Fault, stack: Stack) -> None:
    stack.proxy.fault = fault


TROUBLES: dict[str, Trouble] = {
    "stopped": partial(until_noticed, lambda stack: stack.valkey.freeze()),
    "refused": partial(until_noticed, partial(fault, Fault(refuse=True))),
    "black hole": partial(until_noticed, partial(fault, Fault(swallow=True))),
    "cut": lambda stack: stack.proxy.cut(),
    "half-open": lambda stack: stack.proxy.half_open(),
    "slow": partial(fault, Fault(latency_s=0.05)),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack_behind_proxy(tmp_path_factory.mktemp("stack"), tmp_path_factory.mktemp("valkey")) as stack:
        yield stack


@pytest.mark.timeout(480)
@pytest.mark.parametrize("name", TROUBLES)
def test_accepted_jobs_go_on_when_redis_is_back_and_are_paid_once(name: str, running: Stack) -> None:
    go_on_and_are_paid_once(running, TROUBLES[name])
