"""One repair of kombu's Redis transport, without which a restart of the broker ends a worker.

A channel that is closed first reads the answer to its open BRPOP. When the broker is gone this fails, the channel's
own clean-up is never reached, and a second close finds a channel half taken apart: `'NoneType' object has no attribute
'hostname'`. It takes messages that are held for a countdown, which every lane has. Refuses to touch a kombu it does not
know.
"""

from __future__ import annotations

import hashlib
import inspect
from typing import Any, Final

import structlog
from kombu.transport.redis import Channel

log = structlog.get_logger("reelworks.kombu")

KNOWN: Final = "101e9b9cdad44b88185ecf6a18f07c2057f9768465cfa1e1a4a7fe16068a6bc2"
"""SHA-256 of the source of `Channel.close` in kombu 5.7.0. On another one, look whether this is needed any more."""


def is_known() -> bool:
    """Whether the installed kombu closes its channels as the one that this was written for."""
    return hashlib.sha256(inspect.getsource(_close).encode()).hexdigest() == KNOWN


def install() -> None:
    """Repair the channels of this process, once; say so and leave them alone when kombu is not the known one."""
    if not is_known():
        log.warning("kombu_not_repaired", reason="Channel.close is not the known one")
        return
    Channel.close = _close_all_the_same  # type: ignore[method-assign, assignment]  # that is what a repair is


_close: Final = Channel.close


def _close_all_the_same(channel: Any) -> None:
    if channel._in_poll:  # noqa: SLF001 (a repair of the class is part of it)
        try:
            channel._brpop_read()  # noqa: SLF001 (as above)
        except Exception as error:  # noqa: BLE001 (whatever the broker answers or not: the channel is being closed)
            log.debug("brpop_not_read", error=type(error).__name__)
    _close(channel)
