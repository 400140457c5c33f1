"""The errors that a producer can meet, by what to do about them.

Owns nothing but exception types. None of them ever carries a prompt, an image, a signed URL or a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule. `field` is a dotted path into the request; `code` is stable, `message` is for people."""

    field: str
    code: str
    message: str


class ReelworksError(Exception):
    """The base of all errors of this package."""


class RequestInvalid(ReelworksError, ValueError):
    """The request breaks rules of the contract; nothing was stored. Mend every listed problem and submit again."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.field}: {p.message} [{p.code}]" for p in self.problems))


class IdempotencyConflict(ReelworksError):
    """The idempotency key was used before with another request; nothing was stored. Use a new key for a new request.

    Of many requests the first `len(submitted)` were stored all the same, as these jobs; the others were not.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.submitted: tuple[str, ...] = ()
        super().__init__(f"this idempotency key already belongs to job {job_id} with another request; use a new key")


class NotSubmitted(ReelworksError):
    """Redis did not confirm the submission. With `unknown` it may or may not have been stored: submit again with the
    same idempotency key, which is safe in both cases; without a key, look for the jobs `job_ids` first. Without
    `unknown` it surely was not stored.

    Of many requests the first `len(submitted)` surely were stored, as these jobs; those of the jobs `job_ids`, which
    come next, are in doubt; the rest surely were not.
    """

    def __init__(self, message: str, *, unknown: bool = True, job_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.unknown, self.job_ids = unknown, job_ids
        self.submitted: tuple[str, ...] = ()


class JobFailed(ReelworksError):
    """The job ended as failed, and may have cost something all the same. Read why; `Handle.retry` has it taken up again
    from the stage that failed.

    `code` is stable; `args` are what Celery stores, so it raises the same elsewhere.
    """

    def __init__(self, job_id: str, code: str = "unknown", message: str = "The job failed.") -> None:
        super().__init__(job_id, code, message)
        self.job_id, self.code, self.message = job_id, code, message

    def __str__(self) -> str:
        return f"job {self.job_id} failed: {self.message} [{self.code}]"


class JobCancelled(ReelworksError):
    """The job was cancelled before its output was delivered. Whoever wants its film after all submits the
    request again, with another idempotency key."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"job {self.job_id} was cancelled"


class WaitTimeout(ReelworksError, TimeoutError):
    """The wait ended before the job did. The job goes on: wait again, or read its state later."""

    def __init__(self, job_id: str, timeout_s: float) -> None:
        super().__init__(f"job {job_id} did not end within {timeout_s:g} s; it goes on, wait again")
        self.job_id, self.timeout_s = job_id, timeout_s


class GatewayRefused(ReelworksError):
    """The gateway can't be asked like this: it is not named, or it says no. Mend what the sentence says.

    `code` is stable: the gateway's own, `gateway_unset`, or `http_404` and the like where something else answered.
    `status` is that of HTTP; `None` when nobody was asked.
    """

    def __init__(self, message: str, *, code: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class GatewayAway(ReelworksError):
    """The gateway, or the object store that it named, gave no answer, or one to come back later. Ask again later: in
    `retry_after_s` seconds where it said so."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotSaved(ReelworksError):
    """The job has no film to save yet, or what came is not the film that was stored. Nothing was put in place: wait for
    its end, or save it again."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"nothing of job {job_id} was saved: {reason}")
        self.job_id = job_id
