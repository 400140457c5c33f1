"""How what is the same everywhere is written on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.pauses import Pause, Scope
from workers.cli.formats import pause_line

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)


@pytest.mark.parametrize(
    ("pause", "line"),
    [
        (Pause(Scope.KEY, "main"), "key main: paused"),
        (
            Pause(Scope.ALL, "", NOW, "ops@host", "upgrade"),
            "all: paused since 2026-11-27 09:00:00Z by ops@host: upgrade",
        ),
        (
            Pause(Scope.TENANT, "film", NOW, "me", None, LATER),
            "tenant film: paused since 2026-11-27 09:00:00Z by me, until 2026-11-27 11:00:00Z",
        ),
    ],
)
def test_the_line_of_a_pause_says_who_when_and_why(pause: Pause, line: str) -> None:
    assert pause_line(pause) == line
