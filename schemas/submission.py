"""A submission as it goes to Redis: the entries of the stream, and what an answer of Redis means for them.

Owns the words in which a failed submission is told. Refuses to send anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import redis

from . import keys
from .errors import IdempotencyConflict, NotSubmitted
from .requests import GenerationRequest


@dataclass(frozen=True, slots=True)
class Entry:
    """A request ready for the stream: pictures replaced by references. `fingerprint`: only where a key needs it."""

    job_id: str
    request: GenerationRequest
    fingerprint: str

    @property
    def idempotency(self) -> str | None:
        """The Redis key under which the request's idempotency key is noted; `None` where it has none."""
        key = self.request.idempotency_key
        return None if key is None else keys.idempotency(self.request.tenant, key)


def distinct(entries: Iterable[Entry]) -> list[Entry]:
    """The entries without repetitions of an idempotency key. Raises `IdempotencyConflict` for unequal ones."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if found.setdefault(entry.job_id, entry).fingerprint != entry.fingerprint:
            raise IdempotencyConflict(entry.job_id)
    return list(found.values())


def arguments(batch: Iterable[Entry]) -> Iterator[str]:
    """What the script that submits takes of each entry."""
    for entry in batch:
        yield from (entry.job_id, entry.request.to_json(), entry.fingerprint)


@contextmanager
def reported(sent: Sequence[Entry] = ()) -> Iterator[None]:
    """Turns what Redis can answer into `NotSubmitted`. `sent`: what may have been stored when no answer comes."""
    try:
        yield
    except redis.exceptions.OutOfMemoryError:
        raise NotSubmitted("Redis is out of memory and stored nothing; submit again later", unknown=False) from None
    except redis.BusyLoadingError:
        raise NotSubmitted("Redis is loading its data and stored nothing; submit again later", unknown=False) from None
    except redis.ResponseError as error:
        # Only the first word: the rest of an answer can quote what was sent.
        word = str(error).partition(" ")[0]
        todo = "nothing was submitted; have its operator see why, then submit again"
        raise NotSubmitted(f"Redis refused the submission ({word}): {todo}", unknown=False) from None
    except redis.RedisError as error:
        reason = type(error).__name__
        if sent:
            raise in_doubt(reason, sent) from error
        todo = "nothing was submitted; see that it is up and its address right, then submit again"
        raise NotSubmitted(f"Redis did not answer ({reason}): {todo}", unknown=False) from error


def in_doubt(reason: str, sent: Sequence[Entry]) -> NotSubmitted:
    """What is told of a submission that may have been stored, and may not."""
    if all(entry.idempotency for entry in sent):
        sentence = f"Redis did not confirm the submission ({reason}); repeat it with the same idempotency key"
    else:
        keyless = [entry.job_id for entry in sent if not entry.idempotency]
        jobs = f"job {keyless[0]} is" if len(keyless) == 1 else f"jobs {keyless[0]} and {len(keyless) - 1} more are"
        sentence = (
            f"Redis did not confirm the submission ({reason}), and without an idempotency key a repetition may be"
            f" another job: see whether {jobs} there first"
        )
    return NotSubmitted(sentence, job_ids=tuple(entry.job_id for entry in sent))
