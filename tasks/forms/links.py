"""Links to outputs that open without a key, for a while: what a player, or a client of the provider, can fetch."""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True)
class Links:
    """Makes and checks them. `secret` signs: whoever has it can open every output. `ttl_s`: how long one opens."""

    secret: bytes = field(repr=False)
    ttl_s: int

    def path(self, job_id: str, index: int) -> str:
        """The link to this output, from the gateway's address on."""
        expires = int(time.time()) + self.ttl_s
        query = urlencode({"expires": expires, "signature": self._signature(job_id, index, expires)})
        return f"/files/{job_id}/{index}?{query}"

    def opens(self, job_id: str, index: int, expires: str, signature: str) -> bool:
        """Whether a link with these words opens this output now."""
        if not (expires.isascii() and expires.isdigit() and len(expires) < 12) or int(expires) <= time.time():
            return False
        # As bytes: two texts that are not ASCII can't be compared in constant time.
        return hmac.compare_digest(self._signature(job_id, index, int(expires)).encode(), signature.encode())

    def _signature(self, job_id: str, index: int, expires: int) -> str:
        said = f"{job_id}/{index}/{expires}".encode()
        return hmac.new(self.secret, said, hashlib.sha256).hexdigest()
