"""What follows from each outcome of a create: the table on which it hangs that nothing is paid for twice."""

from __future__ import annotations

import pytest

from tasks.domain.answers import Accepted, CreateOutcome, KeyRefused, Rejected, Throttled, Unknown, Unsent
from tasks.domain.creating import Verdict, judge
from tasks.domain.transitions import Event


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
def test_each_outcome_has_its_verdict(outcome: CreateOutcome, verdict: Verdict) -> None:
    assert judge(outcome, 5, 30) == verdict
