"""Fixtures for all tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from workers import credentials


def pytest_configure() -> None:
    """Tests read settings in this process, some as soon as they are imported. What that forbids a process for good, its
    children inherit: those tests that look for a dump would find none whatever they try. Processes that tests start
    read settings of their own."""
    credentials.forbid_core_dumps = lambda: None


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """For tests of what sets up logging: afterwards it is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
