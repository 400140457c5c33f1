"""What the provider is given to call back, and what is read of its calls.

A token stands for one attempt and can't be made without the secret; so whoever calls with it was told by us, which is
the provider. What it says is never believed: it only says that it is time to look. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_PURPOSE: Final = b"callback"
_SIGNATURE_CHARS: Final = 43
_TASK_ID_CHARS: Final = 255
_CHALLENGE_CHARS: Final = 1024
_GOING_ON: Final = frozenset({"processing", "in_progress"})


@dataclass(frozen=True, slots=True)
class CallbackTokens:
    """Makes and reads tokens; every process that has the same secret does so alike."""

    secret: bytes = field(repr=False)

    def token(self, attempt_id: str) -> str:
        """The token of an attempt: its id and a signature, safe within a URL's path."""
        return f"{attempt_id}.{self._signature(attempt_id)}"

    def attempt_of(self, token: str) -> str | None:
        """The attempt that a token stands for; `None` for what was not made here. Its time tells nothing."""
        attempt_id, _, signature = token.rpartition(".")
        # As bytes: texts that are not ASCII can't be compared in constant time.
        same = hmac.compare_digest(self._signature(attempt_id).encode(), signature.encode("utf-8", "replace"))
        return attempt_id if same else None

    def _signature(self, attempt_id: str) -> str:
        said = _PURPOSE + b":" + attempt_id.encode("utf-8", "replace")
        return hmac.new(self.secret, said, hashlib.sha256).hexdigest()[:_SIGNATURE_CHARS]


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Has the provider call back: under `base_url`, where the gateway is."""

    base_url: str
    tokens: CallbackTokens

    def url(self, attempt_id: str) -> str:
        """What a create is given. It holds a token: not for logs."""
        return f"{self.base_url}/callbacks/{self.tokens.token(attempt_id)}"


@dataclass(frozen=True, slots=True)
class Called:
    """A call, as far as it is of use. `challenge`: to be given back. `provider_task_id`: which task it claims to be
    about; the provider's own id, or one of the model's maker that means nothing to the provider. `goes_on`: nothing has
    ended by its words, which is no reason to look.
    """

    challenge: str | None = None
    provider_task_id: str | None = None
    goes_on: bool = False


def read_call(body: bytes) -> Called:
    """What a call says, in either form: a challenge, the maker's status change, or the provider's task object."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return Called()
    if not isinstance(said, Mapping):
        return Called()
    status = _text(said, _TASK_ID_CHARS, "status") or ""
    return Called(
        _text(said, _CHALLENGE_CHARS, "challenge"),
        _text(said, _TASK_ID_CHARS, "id", "task_id"),
        goes_on=status.lower() in _GOING_ON,
    )


def _text(said: Mapping[str, Any], most_chars: int, *names: str) -> str | None:
    found = next((said[name] for name in names if isinstance(said.get(name), str)), None)
    return found if found and len(found) <= most_chars and found.isprintable() else None
