"""What to do about an answer to a poll: only the provider's own final word ends a job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.domain.answers import Completed, Failed, LookAgain, NotFound, PollAnswer, Running
from tasks.domain.looking import Fail, Finish, Lose, PollAgain, decide
from tasks.domain.polling import PollPolicy
from tests.unit.domain.sketches import known_of

POLICY = PollPolicy(first_s=10, interval_s=5, overdue_after_s=100, overdue_interval_s=60, jitter=0.1)


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        (Running(0.4), PollAgain(5, 0.4)),
        (Running(None, status_known=False), PollAgain(5, None, "unknown_status")),
        (NotFound(), PollAgain(5, None, "provider_task_not_found", misses=1, missing=True)),
        (LookAgain("ReadTimeout"), PollAgain(5, None, "ReadTimeout", misses=1)),
        (LookAgain("http_401", key_refused=True), PollAgain(5, None, "key_refused", misses=1)),
        (LookAgain("http_429", retry_after_s=40), PollAgain(40, None, "http_429", misses=1)),
    ],
)
def test_what_is_not_final_is_looked_at_again(answer: PollAnswer, decision: PollAgain) -> None:
    assert decide(answer, POLICY, age_s=20, polls=2, spread=0.5) == decision


def test_silence_slows_the_looks_down_until_something_is_said() -> None:
    policy = replace(POLICY, interval_s=5, overdue_interval_s=60, jitter=0.0)
    silence = [decide(LookAgain("HTTP 500"), policy, age_s=20, polls=9, spread=0, misses=n) for n in range(7)]
    assert [each.delay_s for each in silence if isinstance(each, PollAgain)] == [5, 10, 20, 40, 60, 60, 60]
    assert [each.misses for each in silence if isinstance(each, PollAgain)] == [1, 2, 3, 4, 5, 6, 7]
    assert decide(Running(0.5), policy, age_s=20, polls=9, spread=0, misses=6) == PollAgain(5, 0.5)


def test_that_there_is_no_such_task_is_believed_only_after_the_grace() -> None:
    policy = replace(POLICY, lost_after_s=900)
    assert isinstance(decide(NotFound(), policy, age_s=5000, polls=9, spread=0, missing_s=None), PollAgain)
    assert isinstance(decide(NotFound(), policy, age_s=5000, polls=9, spread=0, missing_s=899.0), PollAgain)
    assert decide(NotFound(), policy, age_s=5000, polls=9, spread=0, missing_s=900.0) == Lose()


def test_nothing_but_a_404_loses_a_task() -> None:
    answer = decide(LookAgain("HTTP 500"), POLICY, age_s=10**6, polls=9, spread=0, misses=50, missing_s=10**6)
    assert isinstance(answer, PollAgain)


def test_only_the_providers_own_word_ends_a_job() -> None:
    done, failed = Completed(()), Failed("010004095", "no")
    assert decide(done, POLICY, age_s=0, polls=1, spread=0) == Finish(done)
    assert decide(failed, POLICY, age_s=0, polls=1, spread=0) == Fail(failed)


def test_only_progress_that_rises_is_heeded() -> None:
    wide = known_of(POLICY, *[20.0 + n for n in range(60)], ratios=(1.0,) * 50)

    def delay_s(before: float | None) -> float:
        decision = decide(Running(0.5), POLICY, age_s=30, polls=2, spread=0, known=wide, progress=before)
        assert isinstance(decision, PollAgain)
        return decision.delay_s

    assert delay_s(None) == delay_s(0.3) == pytest.approx(30, abs=1.5)
    assert delay_s(0.5) == delay_s(0.9) < 5


def test_all_looks_of_a_key_that_is_slowed_are_slowed() -> None:
    for answer in (Running(None), LookAgain("HTTP 429", throttled=True)):
        usual = decide(answer, POLICY, age_s=30, polls=2, spread=0.5)
        slowed = decide(answer, POLICY, age_s=30, polls=2, spread=0.5, slowed=4.0)
        assert isinstance(usual, PollAgain)
        assert isinstance(slowed, PollAgain)
        assert slowed.delay_s == pytest.approx(4 * usual.delay_s)
