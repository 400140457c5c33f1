"""Processes that die half-way, once at each of the places that matter most; `make failpoints` tries all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.failpoints.deaths import places
from tests.failpoints.run import prove

CHOSEN = [
    place
    for place in places()
    # Everything around the one step that costs money, and after each other commit what has to follow it.
    if place.startswith(("create.", "spool.")) or place.endswith(("after_commit", "before_ack"))
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.mark.timeout(900)
def test_wherever_a_process_dies_nothing_is_lost_and_nothing_paid_twice(tmp_path: Path) -> None:
    told: list[str] = []
    proof = prove(tmp_path, 1, CHOSEN, told.append)
    assert proof.holds, "\n".join([*told, proof.closing_line])
    assert sum(line.deaths for line in proof.lines) == len(CHOSEN)
    by_place = {line.place: line for line in proof.lines}
    # Whoever dies with the answer in its hand leaves a job in doubt, and that is right.
    assert by_place["create.after_post"].uncertain >= 1
    assert by_place["create.after_post"].creates >= 1
