"""The embedded stack as one thing that runs: started, found by its addresses, checked, and stopped without a trace.

What its parts are stands in `workers.stackplan`; how processes are kept running is the supervisor's business.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from schemas.redisaddress import sentinels_of
from workers.folderlock import LOCK_NAME, FolderInUse, FolderLock
from workers.parts import Part
from workers.settings import read_settings
from workers.stackchecks import RedisNotReached, StoreNotWritable, check_redis, check_store
from workers.stackplan import NoServerBinary, ProviderKeyMissing, StackOptions, StackPlan
from workers.supervisor import PartFailed, Supervisor, SupervisorError, interruptible
from workers.transports import TLS_PARAMETERS

__all__ = [
    "EmbeddedStack",
    "FolderInUse",
    "NoServerBinary",
    "Part",
    "PartFailed",
    "ProviderKeyMissing",
    "RedisNotReached",
    "StackOptions",
    "StoreNotWritable",
    "SupervisorError",
    "interruptible",
]

_START_TIMEOUT_S: Final = 90.0  # a stage's; a cold start on a busy machine takes a tenth of it


class EmbeddedStack:
    """`with EmbeddedStack(options) as stack: ...` from a program, or `run_forever(...)` from the command line.

    Raises from the start FolderInUse, ProviderKeyMissing, NoServerBinary, RedisNotReached, StoreNotWritable and
    PartFailed: all are SupervisorErrors, with a message that is meant for people. Raises SettingsInvalid when the
    environment's settings can't be used by the parts. Only PartFailed comes after anything was started. In a `with`
    block, `check()` tells whether the stack still runs. Wrap the block in `interruptible()`, so that SIGTERM cleans up
    as Ctrl-C does.
    """

    def __init__(self, options: StackOptions) -> None:
        self.var = options.var.absolute()
        self._options = options
        self._lock = FolderLock(self.var / LOCK_NAME)
        self._addresses_path = self.var / "addresses.json"
        self._plan: StackPlan | None = None
        self._supervisor: Supervisor | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The settings (`REELWORKS_...`) that a process needs to join the stack. Not for printing."""
        return dict(self._planned().shared)

    @property
    def addresses(self) -> dict[str, object]:
        """Every address and path, for people and programs; passwords within external addresses are masked.

        `bill` is None without the simulator, `provider_keys` unless it is asked with keys that the plan chose,
        `flower_url` and `flower_login` without Flower, `gateway_url` without the gateway. The login stands there
        (`user:password`) where the stack made it, and masked where the environment gave it. `pids` are by part, as of
        now.
        """
        plan = self._planned()
        return {
            "redis_url": _masked(plan.shared["REELWORKS_REDIS_URL"]),
            "database_url": _masked(plan.shared["REELWORKS_DATABASE_URL"]),
            "provider_url": _masked(plan.shared["REELWORKS_PROVIDER_URL"]),
            "provider_keys": plan.simulator_keys,
            "flower_url": plan.flower_url,
            "flower_login": plan.flower_login,
            "gateway_url": plan.gateway_url,
            "store": plan.shared["REELWORKS_STORE"],
            "bill": None if plan.bill is None else str(plan.bill),
            "logs": str(plan.logs),
            "var": str(self.var),
            "pids": {"supervisor": os.getpid(), **(self._supervisor.pids() if self._supervisor else {})},
        }

    def start(self) -> None:
        """Start everything and wait until all of it answers; `var/addresses.json` then holds the addresses."""
        supervisor = self._prepare()
        try:
            supervisor.start()
            self._announce()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything; without effect when nothing runs."""
        if self._supervisor is not None:
            self._supervisor.stop()
        if self._plan is not None:
            self._plan.close()
            self._addresses_path.unlink(missing_ok=True)
        self._lock.release()

    def check(self) -> None:
        """Raise PartFailed if the stack had to give up."""
        if self._supervisor is not None:
            self._supervisor.check()

    def run_forever(self, on_ready: Callable[[], None]) -> None:
        """Start, call `on_ready` when all answers, and run until a signal ends it. Main thread only."""

        def ready() -> None:
            self._announce()
            on_ready()

        supervisor = self._prepare()
        try:
            supervisor.run_forever(ready)
        finally:
            self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> Supervisor:
        """Plan under the lock: of two stacks in one folder, the second must not so much as turn over a log."""
        descriptor = self._lock.acquire()
        try:
            self._plan = StackPlan(self._options)
            with _environment(self._plan.worker_environment):
                read = read_settings()  # said here: the parts would die of what is wrong one after the other
                if self._options.env.get("REELWORKS_REDIS_URL"):
                    check_redis(read.redis_url)
                check_store(read.store, read.var / "parts")
            self._supervisor = Supervisor(
                self._plan.stages(),
                restarts=self._options.restarts,
                start_timeout_s=_START_TIMEOUT_S,
                keep_open=[descriptor],
            )
        except BaseException:
            self.stop()
            raise
        return self._supervisor

    def _announce(self) -> None:
        part = self._addresses_path.with_suffix(".part")
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)  # Flower's login stands in it, and the folder may be one that others can read
        part.write_text(json.dumps(self.addresses) + "\n")
        part.replace(self._addresses_path)

    def _planned(self) -> StackPlan:
        if self._plan is None:
            raise RuntimeError("the stack has no addresses before it is started")
        return self._plan


@contextlib.contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    """Within it, `env` is the whole environment of this process."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(env)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _masked(url: str) -> str:
    """The URL without a password, and of its query (which may hold one) only how TLS is spoken."""
    sentinels = sentinels_of(url)
    if sentinels is not None:
        return sentinels.shown()
    parts = urlsplit(url)
    if not parts.password and not parts.query:
        return url  # as it was: putting a URL without a host together again loses slashes
    user_info, _, place = parts.netloc.rpartition("@")
    place = f"{user_info.partition(':')[0]}:***@{place}" if parts.password else parts.netloc
    kept = "&".join(each for each in parts.query.split("&") if each.partition("=")[0] in TLS_PARAMETERS)
    return f"{parts.scheme}://{place}{parts.path}" + (f"?{kept}" if kept else "")
