"""Accepted jobs outlive a Redis that forgets, or takes nothing. That nobody reaches it is in `test_redis_away.py`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.redistrouble import Stack, Trouble, go_on_and_are_paid_once, stack_behind_proxy, until_noticed
from workers.probes import free_port


def wipe(stack: Stack) -> None:
    stack.valkey.client.flushall()


def restart(stack: Stack, *, forget: bool = False) -> None:
    stack.valkey.stop()
    if forget:
        stack.valkey.forget()
    stack.valkey.start()


TROUBLES: dict[str, Trouble] = {
    "wiped": wipe,
    "restarted with its data": restart,
    "restarted without its data": partial(restart, forget=True),
    "out of memory": partial(until_noticed, lambda stack: stack.valkey.client.config_set("maxmemory", 1)),
    "read-only": partial(until_noticed, lambda stack: stack.valkey.client.replicaof("127.0.0.1", str(free_port()))),
    "without its replicas": partial(
        until_noticed, lambda stack: stack.valkey.client.config_set("min-replicas-to-write", 1)
    ),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack_behind_proxy(tmp_path_factory.mktemp("stack"), tmp_path_factory.mktemp("valkey")) as stack:
        yield stack


@pytest.mark.timeout(480)
@pytest.mark.parametrize("name", TROUBLES)
def test_accepted_jobs_go_on_when_redis_is_back_and_are_paid_once(name: str, running: Stack) -> None:
    go_on_and_are_paid_once(running, TROUBLES[name])
