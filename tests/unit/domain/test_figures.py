"""What is counted: sums that stay exact, buckets that take their bounds in, and words that are few."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.answers import Completed, Failed, LookAgain, NotFound, PollAnswer, Running
from tasks.domain.figures import CHARGED_USD, DETECTION_S, LOOK_LATE_S, REQUESTS, counted, outcome_of, spread


def test_a_count_is_told_by_its_labels_in_its_unit() -> None:
    kept = {CHARGED_USD.field("hailuo", "eu", "false"): 280_000, REQUESTS.field("poll", "eu", "running"): 7}
    assert counted(CHARGED_USD, kept) == {("hailuo", "eu", "false"): 0.28}
    assert counted(REQUESTS, kept) == {("poll", "eu", "running"): 7}


def test_what_another_version_has_kept_is_passed_over() -> None:
    assert counted(REQUESTS, {"requests|poll": 1, "requests": 1, "requests|a|b|c|d": 1, "": 1, "else|a|b|c": 1}) == {}
    assert spread(LOOK_LATE_S, {"look_late_s": 1, "look_late_s|99": 1, "look_late_s|x": 1})[()].counts == (0,) * 9


def test_a_duration_on_a_bound_is_below_it() -> None:
    found = spread(LOOK_LATE_S, dict(LOOK_LATE_S.fields([0.1, 0.11, 60.0, 60.1, 0.0])))[()]
    assert found.counts == (2, 1, 0, 0, 0, 0, 0, 1, 1)
    assert found.sum_s == pytest.approx(120.31)


@given(st.lists(st.floats(-1, 1e4), max_size=50))
def test_every_duration_is_in_one_bucket_and_none_takes_from_the_sum(durations: list[float]) -> None:
    kept = Counter[str]()
    for seconds in durations:
        kept.update(dict(DETECTION_S.fields([seconds], "hailuo")))
    found = spread(DETECTION_S, kept)
    if durations:
        assert sum(found["hailuo",].counts) == len(durations)
        assert found["hailuo",].sum_s == pytest.approx(sum(max(0.0, each) for each in durations), abs=1e-4)
    else:
        assert found == {}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Running(), "running"),
        (Completed(()), "completed"),
        (Failed("1", "no"), "failed"),
        (NotFound(), "not_found"),
        (LookAgain("HTTP 429", throttled=True), "throttled"),
        (LookAgain("HTTP 401", key_refused=True), "key_refused"),
        (LookAgain("HTTP 503"), "http_5xx"),
        (LookAgain("HTTP 302"), "http_3xx"),
        (LookAgain("answer about another task"), "unreadable"),
        (LookAgain("ReadTimeout"), "no_answer"),
        (LookAgain("sk-canary-17"), "no_answer"),
    ],
)
def test_what_a_look_came_to_is_one_of_a_few_words(answer: PollAnswer, outcome: str) -> None:
    assert outcome_of(answer) == outcome
