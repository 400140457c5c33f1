"""The policy for creates of unknown outcome: held unless somebody chose to pay twice rather than wait."""

from __future__ import annotations

import pytest

from tasks.domain.doubt import DoubtPolicy


def test_by_default_nothing_is_ever_created_anew() -> None:
    assert DoubtPolicy.parse("hold") == DoubtPolicy()
    assert not DoubtPolicy().creates_anew(uncertain_s=10**9, doubtful=1)


@pytest.mark.parametrize(
    ("uncertain_s", "doubtful", "anew"),
    [(599, 1, False), (600, 1, True), (600, 2, True), (600, 3, False)],
)
def test_it_waits_and_counts_what_may_have_been_paid_in_vain(uncertain_s: float, doubtful: int, *, anew: bool) -> None:
    policy = DoubtPolicy.parse("retry_after=600,max_extra=2")
    assert policy.creates_anew(uncertain_s=uncertain_s, doubtful=doubtful) is anew


@pytest.mark.parametrize(
    "text", ["", "retry", "retry_after=60", "max_extra=1", "retry_after=-1,max_extra=1", "retry_after=0,max_extra=1",
             "retry_after=60,max_extra=0", "retry_after=nan,max_extra=1", "hold,retry_after=60,max_extra=1"],
)  # fmt: skip
def test_what_does_not_say_both_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|at least"):
        DoubtPolicy.parse(text)
