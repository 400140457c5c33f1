"""Provider keys that take no new tasks for now: throttled, refused, or out of balance."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis

from . import keys


class KeyPause:
    """Pauses by key alias. A pause ends by itself; the next create is then the probe."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def pause(self, alias: str, for_s: float, reason: str) -> None:
        """Let the key take nothing new for `for_s` seconds."""
        self._redis.set(keys.key_pause(alias), reason, px=max(1, int(for_s * 1000)))

    def paused(self, aliases: Sequence[str]) -> dict[str, str]:
        """Of these aliases, those that are paused, with the reason."""
        if not aliases:
            return {}
        reasons = self._redis.mget([keys.key_pause(alias) for alias in aliases])
        pairs = zip(aliases, reasons, strict=True)
        return {alias: reason.decode() for alias, reason in pairs if isinstance(reason, bytes)}
