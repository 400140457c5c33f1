"""Forks of a process whose threads are at work: a child must never come to be in the middle of what they do."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from tasks import context
from workers import forking
from workers.ledgerwatch import LedgerWatch
from workers.spoolkeeper import SpoolKeeper

FORKS = 30


class Delicate:
    """Something that a fork must not interrupt. Whoever uses it is inside nearly all of the time."""

    inside = False
    visits = 0

    @contextmanager
    def read(self) -> Iterator[Delicate]:
        self.inside = True
        for _ in range(50):
            os.sched_yield()
        self.visits += 1
        yield self
        self.inside = False

    now = None


def children_inside(delicate: Delicate) -> int:
    """How many of some forked children find the thread of their parent inside."""
    found = 0
    for _ in range(FORKS):
        child = os.fork()
        if child == 0:
            os._exit(1 if delicate.inside else 0)
        found += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return found


@contextmanager
def thread(step: Callable[[], None]) -> Iterator[None]:
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            step()

    running = threading.Thread(target=run)
    running.start()
    try:
        yield
    finally:
        ended.set()
        running.join()


@pytest.fixture
def forks_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine takes for a visit, a fork does not go ahead meanwhile."""
    monkeypatch.setattr(forking, "_WAIT_S", 60.0)


@pytest.mark.usefixtures("forks_wait")
def test_a_child_never_comes_to_be_in_the_middle_of_what_is_kept_apart() -> None:
    delicate = Delicate()

    def step() -> None:
        with forking.apart_from_forks(), delicate.read():
            pass

    with thread(step):
        assert children_inside(delicate) == 0
    assert delicate.visits


def test_without_that_children_would_be() -> None:
    delicate = Delicate()

    def step() -> None:
        with delicate.read():
            pass

    with thread(step):
        assert children_inside(delicate) > 0


def test_a_child_may_itself_keep_apart_at_once() -> None:
    with forking.apart_from_forks():
        pass
    child = os.fork()
    if child == 0:
        with forking.apart_from_forks():
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_thread_that_waits_for_a_server_does_not_keep_the_pool_from_its_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forking, "_WAIT_S", 0.05)
    held, over = threading.Event(), threading.Event()

    def wait() -> None:
        with forking.apart_from_forks():
            held.set()
            over.wait(30)

    waiting = threading.Thread(target=wait)
    waiting.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        with forking.apart_from_forks():
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    over.set()
    waiting.join()


def test_threads_that_keep_apart_from_forks_do_not_wait_for_one_another() -> None:
    entered, over = threading.Event(), threading.Event()

    def stuck() -> None:
        with forking.apart_from_forks():
            entered.set()
            over.wait(30)

    def quick() -> None:
        with forking.apart_from_forks():
            pass

    threads = [threading.Thread(target=stuck), threading.Thread(target=quick)]
    try:
        threads[0].start()
        assert entered.wait(30)
        threads[1].start()
        threads[1].join(10)
        assert not threads[1].is_alive()
    finally:
        over.set()
        for each in threads:
            each.join()


def test_a_child_may_make_its_context_while_a_thread_of_its_parent_was_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_factory", None)
    monkeypatch.setattr(context, "_built", None)
    making, over = threading.Event(), threading.Event()

    def slow() -> Any:
        making.set()
        over.wait(30)

    context.install(slow)
    maker = threading.Thread(target=context.current)
    maker.start()
    try:
        assert making.wait(30)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(5)  # ends it, should it wait for ever
            context.install(lambda: None)
            context.current()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        over.set()
        maker.join()


class At:
    """A context with a delicate ledger, and a replay of the spool that visits it."""

    def __init__(self) -> None:
        self.ledger = Delicate()
        self.spool = SimpleNamespace(waiting=lambda: 0)
        self.pulse = Mock()


@pytest.mark.usefixtures("forks_wait")
@pytest.mark.parametrize("step", [LedgerWatch, SpoolKeeper])
def test_what_a_worker_does_beside_its_tasks_is_kept_apart(
    monkeypatch: pytest.MonkeyPatch, step: type[LedgerWatch | SpoolKeeper]
) -> None:
    at = At()

    def replay(_: At, each_in: Callable[[], AbstractContextManager[None]]) -> None:
        with each_in(), at.ledger.read():
            pass

    monkeypatch.setattr(context, "current", lambda: at)
    monkeypatch.setattr("workers.spoolkeeper.replay", replay)
    monkeypatch.setattr(f"{step.__module__}.settings", lambda: SimpleNamespace(lane_check_s=0.0))
    ended = threading.Event()
    keeper = step.__new__(step)
    target = keeper._watch if isinstance(keeper, LedgerWatch) else keeper._keep
    run = threading.Thread(target=target, args=(ended,))
    run.start()
    try:
        assert children_inside(at.ledger) == 0
    finally:
        ended.set()
        run.join()
    assert at.ledger.visits
