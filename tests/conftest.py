"""Fixtures for all tests."""

from __future__ import annotations

import logging
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from workers import credentials

# A busy machine is no finding. Built on the profile in force: Hypothesis has one of its own for CI.
settings.register_profile("reelworks", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("reelworks")


def pytest_configure() -> None:
    # Tests read settings in this process, some as soon as they are imported. What that forbids a process for good, its
    # children inherit: those tests that look for a dump would find none whatever they try. Processes that tests start
    # read settings of their own.
    credentials.forbid_core_dumps = lambda: None
    # A logger that keeps what it was first set up with would go on logging so in all later tests.
    configure = structlog.configure
    structlog.configure = lambda **given: configure(**{**given, "cache_logger_on_first_use": False})
    # A shell starts in the background with Ctrl-C ignored, and children inherit that as well.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(ids: list[str]) -> None:
    """Spread over processes, of tests that have the same id only one runs, and nothing tells of it."""
    twice = sorted(name for name, count in Counter(ids).items() if count > 1)
    if twice:
        raise pytest.UsageError(f"tests have one id between them, name them apart: {', '.join(twice)}")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Tests may set up logging, and commands that they call do: afterwards it is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
