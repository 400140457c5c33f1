"""What is read of the environment is the test's own."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("REELWORKS_", "VTRIX_", "AWS_", "OTEL_")):
            monkeypatch.delenv(name)
