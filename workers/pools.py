"""The worker pools: which queues each one serves, on which Celery pool, and the command line that starts it.

`workers up` and the compose file both take their commands from here; nothing else spells one out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

APP: Final = "workers.app"
FLOWER_APP: Final = "workers.flowerapp"
FLOWER_CONFIG: Final = "ops/flower/flowerconfig.py"


@dataclass(frozen=True)
class Pool:
    """One kind of worker process.

    `kind` is Celery's pool class: threads where work waits for HTTP, prefork where it needs a processor. `setting`
    names the field of `PoolSizes` that holds how many tasks run at a time; in the environment it is `variable`.
    """

    name: str
    queues: tuple[str, ...]
    kind: str
    setting: str

    @property
    def variable(self) -> str:
        """The environment variable that says how many tasks it runs at a time."""
        return f"REELWORKS_{self.setting.upper()}"


POOLS: Final[Mapping[str, Pool]] = MappingProxyType(
    {
        pool.name: pool
        for pool in (
            Pool("lanes", queues=("lanes",), kind="threads", setting="lanes_concurrency"),
            Pool("create", queues=("create",), kind="threads", setting="create_concurrency"),
            Pool("finish", queues=("finish", "record"), kind="prefork", setting="finish_concurrency"),
        )
    }
)


@dataclass(frozen=True)
class PoolSizes:
    """How many tasks each pool runs at a time, 1 at least; each field is a setting of that name."""

    lanes_concurrency: int = 8
    create_concurrency: int = 8
    finish_concurrency: int = 2

    @classmethod
    def read(cls, env: Mapping[str, str]) -> Self:
        """By themselves from the environment: `up` needs them before the settings can be whole.

        The default stands where a variable is absent or empty. Raises ValueError that names it.
        """
        sizes = {}
        for pool in POOLS.values():
            text = env.get(pool.variable, "").strip()
            if not text:
                continue
            if not text.isdecimal() or int(text) < 1:
                raise ValueError(f"{pool.variable} must be a whole number of at least 1, not {text!r}")
            sizes[pool.setting] = int(text)
        return cls(**sizes)


def command(name: str, sizes: PoolSizes, *, python: str = sys.executable) -> list[str]:
    """The command line of the pool `name`, to be run in the project's folder. Raises KeyError for an unknown name."""
    pool = POOLS[name]
    return [
        *(python, "-m", "celery", "-A", APP, "worker"),
        *("-n", node_name(pool.name)),
        *("-Q", ",".join(pool.queues)),
        *("-P", pool.kind),
        *("-c", str(getattr(sizes, pool.setting))),
        # Workers have nothing to tell one another: lanes find their seeds in Redis, and many workers would chat much.
        *("--without-gossip", "--without-mingle"),
        "-E",
    ]


def node_name(name: str, host: str = "%h") -> str:
    """The Celery node name of a pool's worker; `%h` stands for the full host name."""
    return f"{name}@{host}"


def flower_command(*, address: str, port: int, python: str = sys.executable) -> list[str]:
    """The command line of Flower, to be run in the project's folder."""
    return [
        *(python, "-m", "celery", "-A", FLOWER_APP, "flower"),
        *(f"--conf={FLOWER_CONFIG}", f"--address={address}", f"--port={port}"),
    ]
