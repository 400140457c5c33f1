"""Callbacks: what the provider tells a callback URL of a task, when and how often, and what it says falsely.

Owns the challenge and the order of callbacks. Refuses to know what becomes of them: the provider never asks twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from . import wire
from .links import Links
from .outside import Outside
from .tasks import Task


class Callbacks:
    """Calls back through `outside`, with links to outputs in it. `new_id` makes an id that no task has."""

    def __init__(self, outside: Outside, links: Links, counts: Counter[str], new_id: Callable[[], str]) -> None:
        self._outside, self._links, self._counts, self._new_id = outside, links, counts, new_id

    async def challenge(self, url: str) -> bool:
        """Whether the URL gives back what it is sent, as a callback URL has to."""
        challenge = self._new_id()
        answer = await self._outside.post(url, wire.encoded({"challenge": challenge}))
        return isinstance(answer, dict) and answer.get("challenge") == challenge

    async def begin(self, task: Task, url: str, other_id: str | None) -> None:
        """Tells of a new task, and before it what is forged. `other_id`: another task's, if there is any."""
        plan = task.plan.callback
        if not plan.strict:  # a strict one was asked before the task came to be
            await self.challenge(url)
        if plan.forged == "status":
            wrong = "completed" if task.plan.poll.outcome == "failed" else "failed"
            await self._send(url, wire.encoded(wire.claim(task, task.id, wrong)))
        elif plan.forged != "none":
            named = other_id if other_id and plan.forged == "other_id" else self._new_id()
            await self._send(url, wire.encoded(wire.claim(task, named, "completed")))
        await self._tell(task, url, "in_progress")

    async def end(self, task: Task, url: str) -> None:
        """Waits for a task's end and tells of it."""
        await task.ended.wait()
        await self._tell(task, url, task.status)

    async def _tell(self, task: Task, url: str, status: str) -> None:
        body = wire.encoded(wire.callback(task, status, lambda file: self._links.make(task.host, task.id, file.name)))
        for _ in range(task.plan.callback.copies):
            await self._send(url, body)

    async def _send(self, url: str, body: bytes) -> None:
        await self._outside.post(url, body)
        self._counts["callbacks"] += 1
