"""Runs the state machine so and so often, on servers of its own."""

from __future__ import annotations

import logging

import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine
from tests.model.world import world


def run(examples: int, steps: int, *, derandomize: bool = False) -> None:
    """Raises what the machine found, with the steps that led to it."""
    Machine.seen.clear()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,  # a machine under load is no finding
        derandomize=derandomize,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # to make a way shorter can take longer than to find it
        report_multiple_bugs=False,
        print_blob=True,
    )
    try:
        with world() as made:
            Machine.world = made
            run_state_machine_as_test(Machine, settings=chosen)
    finally:
        structlog.reset_defaults()
