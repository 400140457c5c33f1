"""A job as its producer holds it: read its state, follow it to its end, save its film, ask for something to be done.

Owns what is read of a job beside its view, and how a command is given. Refuses to change a job by itself: no time-out
and no error cancels anything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import Any, Final

import redis

from . import keys
from .errors import NotSubmitted, Problem
from .gateway import Gateway
from .jobs import JobEvent, JobView, State, completed
from .redisclient import text_of
from .saving import SAVE_S, save
from .waiting import view_of, views

COMMAND_FORM: Final = "1"
"""The form of a command entry, so that workers of the next release can tell it from theirs."""


class Handle:
    """One job. Whatever is read of it, Redis is asked anew, and `redis.RedisError` raised when it can't be asked.

    A wait outlives a Redis that is away for less than a minute.
    """

    __slots__ = ("_gateway", "_redis", "id", "warnings")

    def __init__(
        self, client: redis.Redis, job_id: str, warnings: tuple[Problem, ...] = (), gateway: Gateway | None = None
    ) -> None:
        self._redis, self._gateway = client, gateway or Gateway()
        self.id = job_id
        self.warnings = warnings
        """What will be done, but perhaps not as it was meant; known only to the handle that `submit` returned."""

    def __repr__(self) -> str:
        return f"Handle({self.id!r})"

    def view(self) -> JobView | None:
        """The job as it stands; `None` when it is not accepted yet (or its view has expired)."""
        return view_of(self._redis, self.id)

    @property
    def state(self) -> State | None:
        """Where the job stands; `None` when it is not accepted yet."""
        view = self.view()
        return None if view is None else view.state

    @property
    def done(self) -> bool:
        """Whether the job has ended, in whichever way."""
        view = self.view()
        return view is not None and view.terminal

    @property
    def info(self) -> dict[str, Any]:
        """The fields of the view, and what the last look at the provider found.

        `progress` (0 to 1), `polls` and `next_look_at` (aware, UTC) are `None` while the provider is not being asked;
        `queue_position` (1: the next of its tenant) and `estimated_start_at` are `None` while the job is not queued, or
        nothing is known to estimate from. The estimate goes by the turns up to now: it knows of no pause that operators
        have made and of no budget that is used up, and while there is one the job starts later. `state` is `None`, and
        the other fields of the view are absent, before the job is accepted.
        """
        view = self.view()
        position, start_at = self._turn(view)
        polls, progress, due = self._look()
        return {
            **({"job_id": self.id, "state": None} if view is None else asdict(view)),
            "progress": progress,
            "polls": None if polls is None else int(polls),
            "next_look_at": None if due is None else datetime.fromtimestamp(due, UTC),
            "queue_position": position,
            "estimated_start_at": start_at,
        }

    def _look(self) -> tuple[float | None, float | None, float | None]:
        """Polls, progress, and when the next look is due (epoch seconds): each `None` where it is not known."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hget(keys.LOOKS, self.id)
            pipe.zscore(keys.TIMETABLE, self.id)
            noted, due = pipe.execute()
        try:
            polls, progress, *_ = json.loads(noted or "[null, null]")
        except (ValueError, TypeError):
            polls, progress = None, None
        return _number(polls), _number(progress), due

    def _turn(self, view: JobView | None) -> tuple[int | None, datetime | None]:
        if view is None or view.state is not State.QUEUED:
            return None, None
        rank: Any = self._redis.zrank(keys.line(view.tenant), self.id)
        gap: Any = self._redis.hget(keys.TURN_GAPS, view.tenant)
        if rank is None:
            return None, None
        gap_s = _number(None if gap is None else text_of(gap))
        start_at = None if gap_s is None else datetime.now(UTC) + timedelta(seconds=gap_s * (int(rank) + 1))
        return int(rank) + 1, start_at

    def events(self, timeout: float | None = None) -> Iterator[JobEvent]:
        """The job's events as they happen, each once: from the first that its view still has to the one that ended it.

        Raises `WaitTimeout` when the job has not ended within `timeout` seconds, by default never.
        """
        last = -math.inf
        for view in views(self._redis, self.id, timeout):
            for event in view.events:
                if event.seq > last:
                    last = event.seq
                    yield event

    def get(self, timeout: float | None = None) -> JobView:
        """Waits for the end of the job, and returns the completed job.

        Raises `JobFailed`, `JobCancelled`, or `WaitTimeout` after `timeout` seconds (by default never), which leaves
        the job as it is.
        """
        for view in views(self._redis, self.id, timeout):
            last = view
        return completed(last)

    def save(self, target: str | PathLike[str], *, timeout: float = SAVE_S) -> tuple[Path, ...]:
        """Saves the films of the completed job, and returns where they are now, in the order of its outputs.

        `target` is a folder (one that is there, or a path that ends with a separator), where each keeps its name,
        `JOB-INDEX.mp4`; or a file, which is replaced: beside it a second output is `NAME-1` and so on. They come from
        the HTTP gateway, and are put in place whole and checked (size, SHA-256). A transfer that breaks off is taken up
        where it ended, a few times.

        Raises `NotSaved`, `JobFailed`, `JobCancelled`; `GatewayRefused`; `GatewayAway`, also after `timeout` seconds;
        `OSError` when the files can't be written.
        """
        return save(self._gateway, self.id, target, timeout)

    def cancel(self) -> None:
        """Ask for the job to be cancelled: workers do it within seconds, and the end of the job says so.

        What was not sent yet ends at once and is free. What the provider works on is followed to its end: its cost is
        recorded, its output not delivered. Raises `NotSubmitted`; asking again is safe.
        """
        self._command("cancel")

    def retry(self, *, anew: bool = False) -> None:
        """Ask for a failed job to be tried again from the stage that failed; it is never created a second time.

        With `anew` it is, which costs again. What makes no sense for the job is put aside by the workers, and the job
        stays as it is. Raises `NotSubmitted`; asking again is safe, but for `anew`.
        """
        self._command("retry", anew="1" if anew else "0")

    def _command(self, word: str, **more: str) -> None:
        fields: dict[Any, Any] = {"v": COMMAND_FORM, "command": word, "job": self.id, **more}
        try:
            self._redis.xadd(keys.COMMANDS, fields)
        except redis.ResponseError as error:
            reason = str(error).partition(" ")[0]
            sentence = (
                f"Redis refused to take the {word} of job {self.id} ({reason}): it stays as it is; ask again later"
            )
            raise NotSubmitted(sentence, unknown=False, job_ids=(self.id,)) from None
        except redis.RedisError as error:
            reason = type(error).__name__
            again = "look at the job before you ask again" if more.get("anew") == "1" else "asking again is safe"
            sentence = f"Redis did not confirm the {word} of job {self.id} ({reason}); {again}"
            raise NotSubmitted(sentence, job_ids=(self.id,)) from error


def _number(value: Any) -> float | None:
    try:
        number = float("nan" if value is None else value)
    except (ValueError, TypeError):
        return None
    return number if math.isfinite(number) else None
