"""Who may create, and how much: Bearer keys, creates a minute and open tasks, for each key by itself.

Owns the counts of both limits. Refuses to show keys: outside this module a key is its alias.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from typing import Final

from .bill import key_alias
from .validation import Refused

MINUTE_S: Final = 60.0


class Throttled(Exception):
    """429. `retry_after_s` is in real seconds; `None` when the provider does not say."""

    def __init__(self, message: str, retry_after_s: int | None) -> None:
        super().__init__(message)
        self.message, self.retry_after_s = message, retry_after_s


class Access:
    """The keys and their limits.

    `keys`: those accepted; none at all accepts whatever begins with `sk-`. `broke`: accepted keys without balance, good
    for polls but not for creates. `speed` is how many simulated seconds pass in a real one.
    """

    def __init__(
        self,
        *,
        keys: Iterable[str] = (),
        broke: Iterable[str] = (),
        open_limit: int,
        rate_per_minute: int,
        speed: float,
    ) -> None:
        self._broke = {key_alias(key) for key in broke}
        listed = {f"Bearer {key}": key_alias(key) for key in keys}
        self._any_key = not listed
        self._aliases = listed | {f"Bearer {key}": key_alias(key) for key in broke}
        self._open_limit, self._rate_per_minute, self._speed = open_limit, rate_per_minute, speed
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self.open: Counter[str] = Counter()
        self.max_open: Counter[str] = Counter()

    def alias(self, authorization: str | None) -> str:
        """The alias of the key in an `Authorization` header. Raises `Refused` (401)."""
        alias = self._aliases.get(authorization or "")
        if alias is not None:
            return alias
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() == "bearer":
            known = self._aliases.get(f"Bearer {key}")
            if known is not None:
                return known
            if self._any_key and key.startswith("sk-") and len(key) > len("sk-"):
                return self._aliases.setdefault(f"Bearer {key}", key_alias(key))
        raise Refused("invalid api key" if key else "login fail: please carry the API key", status=401)

    def admit(self, alias: str, now_s: float) -> None:
        """Counts one create of a key at `now_s` (real seconds, monotonic). Raises `Refused` (403) or `Throttled`."""
        if alias in self._broke:
            raise Refused("insufficient balance", status=403)
        recent, window_s = self._recent[alias], MINUTE_S / self._speed
        while recent and recent[0] <= now_s - window_s:
            recent.popleft()
        if len(recent) >= self._rate_per_minute:
            raise Throttled("rate limit", math.ceil(recent[0] + window_s - now_s))
        if self.open[alias] >= self._open_limit:
            raise Throttled("too many tasks in progress", None)
        recent.append(now_s)

    def opened(self, alias: str) -> None:
        """Count a task that a key has open from now on, and the most that it ever had."""
        self.open[alias] += 1
        self.max_open[alias] = max(self.max_open[alias], self.open[alias])

    def closed(self, alias: str) -> None:
        """Count a task that has ended."""
        self.open[alias] -= 1
