"""Latencies, prices, ids and progress."""

from __future__ import annotations

import re
import statistics
from dataclasses import replace

import pytest

from ops.simulator.scenario import OutputPlan, Plan, PollPlan
from ops.simulator.tasks import MEDIAN_LATENCY_S, PRICE_USD, Task, TaskIds, latency_s
from ops.simulator.validation import MODELS, Order, Picture

MODEL = "minimax_hailuo_02_i2v"


@pytest.mark.parametrize(
    ("model", "kind", "median_s"),
    [(model, kind, median_s) for model, kinds in MEDIAN_LATENCY_S.items() for kind, median_s in kinds.items()],
)
def test_latency_is_log_normal_around_its_median(model: str, kind: tuple[str, int], median_s: float) -> None:
    drawn = [latency_s(model, *kind, seed=7, nth=nth) for nth in range(2000)]
    assert statistics.median(drawn) == pytest.approx(median_s, rel=0.05)
    ordered = sorted(drawn)
    # One sigma either side of the median of a log-normal holds the 16th and the 84th percentile.
    assert ordered[1680] / ordered[320] == pytest.approx(2.718281828 ** (2 * 0.35), rel=0.1)


def test_latency_is_repeatable_by_seed_and_differs_between_tasks() -> None:
    assert latency_s(MODEL, "768P", 6, 7, 1) == latency_s(MODEL, "768P", 6, 7, 1)
    assert len({latency_s(MODEL, "768P", 6, seed, nth) for seed in (7, 8) for nth in (1, 2)}) == 4


def test_every_kind_that_is_served_has_a_latency_and_a_price() -> None:
    served = {
        model: {(word, duration) for duration, row in rules.table.items() for word in row}
        for model, rules in MODELS.items()
    }
    assert {model: set(kinds) for model, kinds in PRICE_USD.items()} == served
    assert {model: set(kinds) for model, kinds in MEDIAN_LATENCY_S.items()} == served


def test_the_fast_model_takes_half_the_time() -> None:
    plain, fast = MEDIAN_LATENCY_S["minimax_hailuo_23_i2v"], MEDIAN_LATENCY_S["minimax_hailuo_23_fast_i2v"]
    assert {kind: median_s / 2 for kind, median_s in plain.items()} == fast


def test_ids_look_like_the_providers_and_never_repeat() -> None:
    ids, restarted = TaskIds(), TaskIds()
    made = [ids.next() for _ in range(2000)] + [restarted.next() for _ in range(2000)]
    assert len(set(made)) == 4000
    assert all(re.fullmatch(r"[0-9a-v]{20}", one) for one in made)


def task(**poll: object) -> Task:
    order = Order("m", Picture(url="http://x/"), None, "", 6, "768P", None, watermark=False)
    return Task("id", "key-1", order, Plan(poll=PollPlan(**poll)), 100.0, "h", 0.0, 50.0)  # type: ignore[arg-type]


def test_progress_rises_with_time_and_is_never_one() -> None:
    shown = task()
    assert [shown.progress(50.0 + s, speed=10.0) for s in (0, 5, 9)] == [0.0, 0.5, 0.9]
    assert shown.progress(1e6, speed=10.0) == 0.99
    shown.status = "completed"  # and shown as in progress all the same
    assert shown.progress(1e6, speed=10.0) == 0.99


@pytest.mark.parametrize(("times", "met"), [(0, 0), (2, 2), (None, 5)])
def test_a_fault_is_met_as_often_as_it_says_or_always(times: int | None, met: int) -> None:
    shown = task(fault="http_404", fault_times=times)
    shown.plan = replace(shown.plan, output=OutputPlan(fault="reset", fault_times=times))
    assert [shown.next_poll_fault() for _ in range(5)] == ["http_404"] * met + [None] * (5 - met)
    assert [shown.next_output_fault() for _ in range(5)] == ["reset"] * met + [None] * (5 - met)


def test_a_task_steps_back_after_its_end_was_shown_once() -> None:
    shown = task(goes_back=2)
    assert [shown.steps_back() for _ in range(5)] == [False, True, True, False, False]
    assert not any(task().steps_back() for _ in range(3))


def test_a_task_that_never_ends_still_shows_rising_progress() -> None:
    shown = task(never=True)
    steps = [shown.progress(50.0 + s, speed=10.0) for s in (0, 5, 10, 50)]
    assert steps == sorted(set(steps))
    assert steps[-1] < 0.99
