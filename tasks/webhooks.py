"""Sends webhooks: signed by Standard Webhooks, by https to public addresses, a few to each receiver at a time.

Refuses redirects, private addresses, and retries of its own: `tasks.domain.delivering` says what follows a try.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Final

import requests
from standardwebhooks.webhooks import Webhook

from tasks.domain.delivering import Reply, WebhookPolicy
from tasks.domain.retry_after import retry_after
from tasks.outward import PUBLIC, AddressRefused, Reach, guarded_session
from tasks.transport import TRANSPORT_ERRORS, Deadlines, deadline

_AGENT: Final = "reelworks-webhooks"
_READ_MOST_BYTES: Final = 16_384
"""Of an answer, so that its connection can be kept; nobody reads what it says."""


def signed(secrets: Sequence[str], message_id: str, at: datetime, body: str) -> dict[str, str]:
    """The headers by which receivers tell that a message is ours, and when it was sent. `secrets`: each signs, so that
    a receiver may know any of them.
    """
    signatures = [Webhook(secret).sign(message_id, at, body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


class Webhooks:
    """Sends messages on threads of its own, and knows how many are on their way to whom.

    `reach`: where they may go. Public methods may be called from any thread.
    """

    def __init__(self, policy: WebhookPolicy, reach: Reach = PUBLIC) -> None:
        self.reach = reach
        self._policy = policy
        self._session = guarded_session(reach)
        self._threads = ThreadPoolExecutor(policy.slots, thread_name_prefix="webhook")
        self._sending: Counter[str] = Counter()
        self._lock = threading.Lock()

    def room(self) -> int:
        """How many more messages can be sent now."""
        with self._lock:
            return self._policy.slots - self._sending.total()

    def busy(self) -> Collection[str]:
        """Receivers to which as many messages as may be are on their way."""
        with self._lock:
            return [name for name, sending in self._sending.items() if sending >= self._policy.slots_per_receiver]

    def begin(self, receiver: str, send: Callable[[], None]) -> Future[None]:
        """Have `send` run, which takes one of the receiver's places until it ends."""
        with self._lock:
            self._sending[receiver] += 1
        try:
            begun = self._threads.submit(send)
        except RuntimeError:
            self._end(receiver)
            raise
        begun.add_done_callback(lambda _: self._end(receiver))
        return begun

    def _end(self, receiver: str) -> None:
        with self._lock:
            self._sending[receiver] -= 1
            self._sending += Counter()  # forgets those at nothing

    def post(self, url: str, body: str, headers: Mapping[str, str], now: datetime) -> Reply:
        """Send one message. `now`: for answers that name a time. Never raises for what a receiver can cause."""
        policy = self._policy
        sent = {**headers, "Content-Type": "application/json", "User-Agent": _AGENT}
        try:
            with (
                deadline(policy.total_s),
                self._session.post(
                    url,
                    data=body.encode(),
                    headers=sent,
                    timeout=Deadlines(policy.connect_s, policy.read_s, policy.total_s).timeouts_s,
                    allow_redirects=False,
                    stream=True,
                ) as answer,
            ):
                status, wait_s = answer.status_code, retry_after(answer.headers.get("Retry-After"), now)
                self._read_away(answer)
        except AddressRefused as error:
            return Reply(None, str(error), refused=True)
        except TRANSPORT_ERRORS as error:
            # Its text would quote the address.
            return Reply(None, type(error).__name__)
        return Reply(status, f"HTTP {status}", wait_s)

    @staticmethod
    def _read_away(answer: requests.Response) -> None:
        try:
            answer.raw.read(_READ_MOST_BYTES, decode_content=False)
        except TRANSPORT_ERRORS:
            answer.close()  # what counts has been said

    def close(self) -> None:
        """Wait for what is on its way, and close the connections."""
        self._threads.shutdown()
        self._session.close()
