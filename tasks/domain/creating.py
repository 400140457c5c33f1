"""What to do about the outcome of a create. Pure; the promise that nothing is paid for twice hangs on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .answers import Accepted, CreateOutcome, KeyRefused, Rejected, Throttled, Unknown, Unsent
from .transitions import Event


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a create's outcome.

    `outcome`, `reason` and `http_status` are the evidence that the attempt keeps. `retry_after_s` is set when the job
    goes back to the queue (0: another key may take it at once), `pause_key_s` when the key is to take nothing new for a
    while.
    """

    event: Event
    outcome: str
    reason: str | None = None
    http_status: int | None = None
    provider_task_id: str | None = None
    error_code: str | None = None
    retry_after_s: float | None = None
    pause_key_s: float | None = None


def judge(outcome: CreateOutcome, retry_s: float, key_pause_s: float) -> Verdict:
    """The verdict on an outcome; `retry_s` and `key_pause_s` are used where the provider named no time."""
    match outcome:
        case Accepted(provider_task_id):
            return Verdict(Event.ACCEPTED, "accepted", provider_task_id=provider_task_id)
        case Rejected(code, message, status):
            return Verdict(Event.REJECTED, "rejected", reason=message, http_status=status, error_code=code)
        case KeyRefused(code, message, status):
            reason = f"{code}: {message}"
            return Verdict(Event.UNSENT, "key_refused", reason, status, retry_after_s=0.0, pause_key_s=key_pause_s)
        case Throttled(retry_after_s):
            wait_s = retry_s if retry_after_s is None else max(retry_after_s, 0.0)
            return Verdict(Event.UNSENT, "throttled", http_status=429, retry_after_s=0.0, pause_key_s=wait_s)
        case Unsent(reason):
            return Verdict(Event.UNSENT, "unsent", reason, retry_after_s=retry_s, pause_key_s=retry_s)
        case Unknown(reason, status):
            return Verdict(Event.UNKNOWN, "unknown", reason, status)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt: whose it is, the key that it was made with, and the verdict. Holds no secret."""

    job_id: str
    attempt_id: str
    key_alias: str
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """Plain values, as the spool keeps them; `from_json` reads them again."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Answer:
        """Raises `ValueError`, `TypeError` or `LookupError` for what `to_json` did not write."""
        verdict = dict(raw["verdict"])
        verdict["event"] = Event(verdict["event"])
        return cls(raw["job_id"], raw["attempt_id"], raw["key_alias"], Verdict(**verdict))
