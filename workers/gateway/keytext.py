"""What a caller holds: `rw_<id>_<secret>`. The id may be shown; of the secret the ledger keeps a hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final, NamedTuple

from workers.credentials import Secret

_FORM: Final = re.compile(r"rw_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)


class KeyText(NamedTuple):
    """A key's two parts."""

    id: str
    secret: Secret

    def reveal(self) -> str:
        """The whole, as its owner keeps it."""
        return f"rw_{self.id}_{self.secret.reveal()}"

    def hash(self) -> str:
        """SHA-256 (hex) of the secret, which has 256 random bits: nobody guesses what has this hash."""
        return hashlib.sha256(self.secret.reveal().encode()).hexdigest()

    def has_hash(self, expected: str) -> bool:
        """Whether this is the secret of that hash, in a time that tells nothing about it."""
        return hmac.compare_digest(self.hash(), expected)


def mint() -> KeyText:
    """A new one."""
    return KeyText(secrets.token_hex(6), Secret(secrets.token_urlsafe(32)))


def read(text: str) -> KeyText | None:
    """The parts of a key, `None` for what has not its form."""
    found = _FORM.fullmatch(text)
    return None if found is None else KeyText(found[1], Secret(found[2]))
