"""Signed links to output files, which expire.

Owns the form of the links and the check of their signatures. Refuses to tell why a link is refused beyond what object
stores tell: it is wrong, or it has expired.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time

from .validation import Refused


class Links:
    """Makes and checks links. `ttl_s`: real seconds that a link holds. The secret lives and dies with the process."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._secret = os.urandom(32)

    def make(self, host: str, task_id: str, name: str) -> str:
        """A link to an output under `host` (name and port), good from now on."""
        path = f"/files/{task_id}/{name}"
        expires = f"{time.time() + self._ttl_s:.3f}"
        return f"http://{host}{path}?expires={expires}&sig={self._sign(path, expires)}"

    def check(self, path: str, expires: str, signature: str) -> None:
        """Raises `Refused` (403) unless the signature fits and the link still holds."""
        if not hmac.compare_digest(signature.encode(), self._sign(path, expires).encode()):
            raise Refused("SignatureDoesNotMatch", status=403)
        if float(expires) < time.time():
            raise Refused("Request has expired", status=403)

    def _sign(self, path: str, expires: str) -> str:
        return hmac.new(self._secret, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
