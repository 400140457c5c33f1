"""What is read of the environment is the test's own, and so is what a command adds to it: who joins a stack sets the
addresses that the stack has written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from unittest import mock

import pytest

from tests.support.environment import foreign_environment


@pytest.fixture(autouse=True)
def empty_environment() -> Iterator[None]:
    with mock.patch.dict(os.environ, foreign_environment(), clear=True):
        yield
