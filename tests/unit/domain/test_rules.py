"""Decisions as tables: admission, the poll schedule, outcomes of a create, answers to a poll, prices, retries."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tasks.domain.answers import (
    Accepted,
    Completed,
    Failed,
    FinalAnswer,
    KeyRefused,
    LookAgain,
    NotFound,
    PollAnswer,
    Rejected,
    RemoteOutput,
    Running,
    Throttled,
    Unknown,
    Unsent,
    Usage,
)
from tasks.domain.creating import Verdict, judge
from tasks.domain.finishing import ExpectedFilm, GiveUp, TryAgain, expected_film, retry_or_give_up
from tasks.domain.looking import Fail, Finish, Lose, PollAgain, decide
from tasks.domain.polling import PollPolicy, next_look_s
from tasks.domain.prices import Price, price_of
from tasks.domain.transitions import Event

POLICY = PollPolicy(first_s=10, interval_s=5, overdue_after_s=100, overdue_interval_s=60, jitter=0.1)


class TestPollSchedule:
    @pytest.mark.parametrize(
        ("age_s", "polls", "retry_after_s", "spread", "delay_s"),
        [
            (0, 0, None, 0.5, 10),
            (0, 0, None, 0.0, 9),
            (20, 1, None, 0.5, 5),
            (20, 1, None, 0.0, 4.5),
            (100, 9, None, 0.5, 60),
            (20, 1, 30.0, 0.5, 30),
            (20, 1, 1.0, 0.5, 5),
        ],
    )
    def test_table(self, age_s: float, polls: int, retry_after_s: float | None, spread: float, delay_s: float) -> None:
        found = next_look_s(POLICY, age_s=age_s, polls=polls, retry_after_s=retry_after_s, spread=spread)
        assert found == pytest.approx(delay_s)


class TestCreate:
    @pytest.mark.parametrize(
        ("outcome", "verdict"),
        [
            (Accepted("t1"), Verdict(Event.ACCEPTED, "accepted", provider_task_id="t1")),
            (
                Rejected("2013", "bad", 400),
                Verdict(Event.REJECTED, "rejected", "bad", 400, error_code="2013"),
            ),
            (
                KeyRefused("401", "no", 401),
                Verdict(Event.UNSENT, "key_refused", "401: no", 401, retry_after_s=0, pause_key_s=30),
            ),
            (
                Throttled(None),
                Verdict(Event.UNSENT, "throttled", http_status=429, retry_after_s=0, pause_key_s=5),
            ),
            (
                Throttled(12.0),
                Verdict(Event.UNSENT, "throttled", http_status=429, retry_after_s=0, pause_key_s=12),
            ),
            (Unsent("refused"), Verdict(Event.UNSENT, "unsent", "refused", retry_after_s=5, pause_key_s=5)),
            (Unknown("ReadTimeout", None), Verdict(Event.UNKNOWN, "unknown", "ReadTimeout")),
        ],
    )
    def test_each_outcome_has_its_verdict(self, outcome: object, verdict: Verdict) -> None:
        assert judge(outcome, 5, 30) == verdict  # type: ignore[arg-type]


class TestLooking:
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
    def test_what_is_not_final_is_looked_at_again(self, answer: PollAnswer, decision: PollAgain) -> None:
        assert decide(answer, POLICY, age_s=20, polls=2, spread=0.5) == decision

    def test_silence_slows_the_looks_down_until_something_is_said(self) -> None:
        policy = replace(POLICY, interval_s=5, overdue_interval_s=60, jitter=0.0)
        silence = [decide(LookAgain("HTTP 500"), policy, age_s=20, polls=9, spread=0, misses=n) for n in range(7)]
        assert [each.delay_s for each in silence if isinstance(each, PollAgain)] == [5, 10, 20, 40, 60, 60, 60]
        assert [each.misses for each in silence if isinstance(each, PollAgain)] == [1, 2, 3, 4, 5, 6, 7]
        assert decide(Running(0.5), policy, age_s=20, polls=9, spread=0, misses=6) == PollAgain(5, 0.5)

    def test_that_there_is_no_such_task_is_believed_only_after_the_grace(self) -> None:
        policy = replace(POLICY, lost_after_s=900)
        assert isinstance(decide(NotFound(), policy, age_s=5000, polls=9, spread=0, missing_s=None), PollAgain)
        assert isinstance(decide(NotFound(), policy, age_s=5000, polls=9, spread=0, missing_s=899.0), PollAgain)
        assert decide(NotFound(), policy, age_s=5000, polls=9, spread=0, missing_s=900.0) == Lose()

    def test_nothing_but_a_404_loses_a_task(self) -> None:
        answer = decide(LookAgain("HTTP 500"), POLICY, age_s=10**6, polls=9, spread=0, misses=50, missing_s=10**6)
        assert isinstance(answer, PollAgain)

    def test_only_the_providers_own_word_ends_a_job(self) -> None:
        done, failed = Completed(()), Failed("010004095", "no")
        assert decide(done, POLICY, age_s=0, polls=1, spread=0) == Finish(done)
        assert decide(failed, POLICY, age_s=0, polls=1, spread=0) == Fail(failed)

    def test_a_final_answer_survives_the_ledger(self) -> None:
        usage = Usage(Decimal("0.280"), Decimal("0.9"), {"cost": "0.280"})
        answer = FinalAnswer((RemoteOutput("video", "https://x/y?sig=1", 6.0),), usage, {"completed_at": 1})
        assert FinalAnswer.from_json(answer.to_json()) == answer

    def test_a_signed_url_does_not_print(self) -> None:
        assert "sig=" not in repr(RemoteOutput("video", "https://x/y?sig=1"))


class TestMoney:
    @pytest.mark.parametrize(
        ("cost", "price"),
        [
            (Decimal("0.28"), Price(Decimal("0.28"), estimated=False)),
            (Decimal(0), Price(Decimal(0), estimated=False)),
            (None, Price(Decimal("0.56"), estimated=True)),
            (Decimal("0.1234567"), Price(Decimal("0.123457"), estimated=False)),
        ],
    )
    def test_the_reported_cost_counts_else_the_price_list(self, cost: Decimal | None, price: Price) -> None:
        assert price_of(Usage(cost), Decimal("0.56")) == price


class TestFinishing:
    def test_the_film_takes_the_shape_of_the_first_frame(self) -> None:
        request = {"duration": 6, "resolution": "768P", "first_frame_image": f"input:{'0' * 64}.jpg:1000x2000"}
        assert expected_film(request) == ExpectedFilm(768, 1536, 6.0)

    @pytest.mark.parametrize(("resolution", "size"), [("768P", (1366, 768)), ("1080P", (1920, 1080))])
    def test_a_film_without_a_first_frame_is_wide(self, resolution: str, size: tuple[int, int]) -> None:
        request = {"duration": 6, "resolution": resolution, "prompt": "a cat"}
        assert expected_film(request) == ExpectedFilm(*size, 6.0)

    def test_of_the_shape_behind_a_url_the_short_side_is_known(self) -> None:
        request = {"duration": 10, "resolution": "768P", "first_frame_image": "https://x.example/a.jpg"}
        assert expected_film(request) == ExpectedFilm(None, 768, 10.0)

    @pytest.mark.parametrize(
        ("refused", "tries", "verdict"),
        [
            (False, 1, TryAgain(5)),
            (False, 3, TryAgain(20)),
            (False, 7, TryAgain(300)),
            (False, 8, GiveUp("c", "m")),
            (True, 1, TryAgain(5)),
            (True, 2, GiveUp("c", "m")),
        ],
    )
    def test_a_download_is_tried_again_ever_later(self, refused: bool, tries: int, verdict: TryAgain | GiveUp) -> None:
        found = retry_or_give_up(refused=refused, code="c", message="m", tries=tries, most=8, first_s=5)
        assert found == verdict
