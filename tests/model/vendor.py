"""A provider that keeps its own books: what it accepted, what became of it, what it costs. Answers as it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from schemas.jobs import Output
from tasks.domain.answers import (
    Accepted,
    Completed,
    CreateOutcome,
    Failed,
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
from tasks.media.errors import FetchExpired, FetchInterrupted, FetchRefused

PRICE: Final = Decimal("0.28")
FAILURE: Final = Decimal("0.05")


class Killed(BaseException):
    """The process died here. Not an `Exception`: nobody may catch it and go on."""


class Asleep(BaseException):
    """The worker sleeps with this answer in its hand; what it does when it wakes comes later."""

    def __init__(self, outcome: CreateOutcome) -> None:
        super().__init__()
        self.outcome = outcome


@dataclass
class Task:
    """One provider task. `cost` is `None` while it runs. `told`: we were given its id; `priced`: and what it cost."""

    id: str
    job_id: str
    cost: Decimal | None = None
    failed: bool = False
    told: bool = False
    priced: bool = False


UNSENT: Final = ("rejected", "throttled", "unsent", "key_refused", "rejected_late", "unsent_late")
CREATES: Final = (
    *("accepted", "accepted", "accepted", "accepted_late", "accepted_spooled", "taken"),
    *("unknown_with", "unknown_without", "dies_with", "dies_without"),
    *UNSENT,
)
"""What can come of a create; `_with` and `_without` say whether the provider has a task behind it."""

POLLS: Final = ("running", "completed", "completed", "unpriced", "failed", "failed_paid", "gone", "nothing", "breaks")
FETCHES: Final = ("ok", "ok", "interrupted", "refused", "expired", "dies")


@dataclass
class Vendor:
    """The provider, and the server of its outputs."""

    tasks: dict[str, Task] = field(default_factory=dict)
    posts: list[tuple[str, str]] = field(default_factory=list)
    """Job and outcome of every request that reached us."""
    named: list[str] = field(default_factory=list)
    """Tasks that the ledger knows, for an answer that gives one of them a second time."""
    next_create: str = "accepted"
    next_poll: str = "running"
    next_fetch: str = "ok"

    # --- as the product calls it ---

    def create(self, body: Mapping[str, Any]) -> CreateOutcome:
        job_id = body["input"][0]["params"]["prompt"].split()[-1]
        kind, self.next_create = self.next_create, "accepted"
        self.posts.append((job_id, kind))
        if kind in ("unknown_with", "dies_with"):
            self._new(job_id)
        if kind.startswith("dies"):
            raise Killed
        outcome = self._outcome(kind, job_id)
        if kind.endswith("_late"):
            raise Asleep(outcome)
        return outcome

    def _outcome(self, kind: str, job_id: str) -> CreateOutcome:
        if kind.startswith("accepted"):
            return self._accept(job_id)
        if kind == "taken":
            others = [name for name in self.named if self.tasks[name].job_id != job_id]
            return Accepted(others[0]) if others else Unknown("Garbage")
        return {
            "unknown": Unknown("ReadTimeout"),
            "rejected": Rejected("bad_request", "no", 400),
            "throttled": Throttled(0.001),
            "unsent": Unsent("ConnectionRefused"),
            "key": KeyRefused("http_401", "no", 401),
        }[kind.partition("_")[0]]

    def poll(self, provider_task_id: str) -> PollAnswer:
        task = self.tasks.get(provider_task_id)
        kind = self.next_poll
        if task is None or kind == "gone":
            return NotFound()
        if kind == "nothing":
            return LookAgain("ReadTimeout")
        if kind == "breaks":
            raise ZeroDivisionError
        task.told = True
        if task.cost is None:
            if kind == "running":
                return Running(0.5)
            self.end(task, failed=kind.startswith("failed"), paid=kind == "failed_paid")
        assert task.cost is not None
        if task.failed:
            task.priced = True
            return Failed("010004095", "no luck", Usage(task.cost, raw={"cost": str(task.cost)}))
        output = RemoteOutput("video", f"https://outputs.example/{task.id}", 6)
        if kind == "unpriced":
            return Completed((output,), Usage(None, raw={}))
        task.priced = True
        return Completed((output,), Usage(task.cost, raw={"cost": str(task.cost)}))

    def keep(self, _remote: RemoteOutput, name: str, index: int, _expected: object) -> Output:
        """What the fetcher of outputs does."""
        kind, self.next_fetch = self.next_fetch, "ok"
        match kind:
            case "interrupted":
                raise FetchInterrupted("half of it")
            case "refused":
                raise FetchRefused("a web page")
            case "expired":
                raise FetchExpired("403")
            case "dies":
                raise Killed
        return Output(index=index, type="video", path=f"{name}.mp4", size_bytes=1, sha256="0" * 64)

    # --- as the model looks at it ---

    def end(self, task: Task, *, failed: bool = False, paid: bool = True) -> None:
        task.failed = failed
        task.cost = (FAILURE if paid else Decimal(0)) if failed else PRICE

    def made_for(self, job_id: str) -> list[Task]:
        return [task for task in self.tasks.values() if task.job_id == job_id]

    def possible_creates(self, job_id: str) -> int:
        """How many requests for this job the provider may have accepted, as far as anybody but it can know."""
        return sum(1 for whose, kind in self.posts if whose == job_id and kind not in UNSENT)

    def _accept(self, job_id: str) -> Accepted:
        task = self._new(job_id)
        task.told = True
        return Accepted(task.id)

    def _new(self, job_id: str) -> Task:
        task = Task(f"task-{len(self.tasks) + 1}", job_id)
        self.tasks[task.id] = task
        return task
