"""Asks about many tasks at once over libcurl: one thread, kept connections, HTTP/2 where the server speaks it by TLS.

The poll lane's client, because of what a poll costs in all, from claim to put back (batches of 100 on loopback, CPU of
the process): 0.10 ms, against 1.1 ms over `requests` and threads. Asking and reading the JSON alone is half of it.

Bounds and reads a poll as `VtrixClient.poll` does: connect, read and total deadlines, the size of an answer, certifi's
authorities. Refuses proxies and the environment; redirects, netrc and cookies, as libcurl does by itself; and to try
again, but that libcurl repeats a poll on a new connection when a kept one ends before a byte of the answer has come.
"""

from __future__ import annotations

import errno
import io
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Final

import pycurl
import urllib3
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from tasks.domain.answers import PollAnswer
from tasks.transport import TRANSPORT_ERRORS, Deadlines
from tasks.vtrix.asking import HAND_OVER_S, Answered, Look
from tasks.vtrix.client import MAX_ANSWER_BYTES, NoReply, VtrixClient, read_body
from tasks.vtrix.outcomes import Reply

_LONGEST_WAIT_S: Final = 0.05
"""libcurl's own timers, such as that of a connect, are looked at this often."""
_TOGETHER_S: Final = 0.002
"""Answers that come within this time are taken in one go: each go looks at every transfer that is under way."""
_CHECKS: Final = 16
"""So often within the read time-out is it looked whether something came: a stall is met at most a sixteenth late."""

_TLS_ERRORS: Final = frozenset(
    getattr(pycurl, name)
    for name in (
        "E_SSL_CONNECT_ERROR",
        "E_PEER_FAILED_VERIFICATION",
        "E_SSL_CACERT_BADFILE",
        "E_SSL_CERTPROBLEM",
        "E_SSL_CIPHER",
        "E_SSL_ISSUER_ERROR",
        "E_SSL_INVALIDCERTSTATUS",
    )
)
_Outcome = tuple[int, Reply | NoReply | Exception]


class CurlAsker:
    """Asks as many at once as it is given, each over a connection of its own unless they share one by HTTP/2.

    Safe to use from many threads; build it after the fork. `within` bounds each poll. A TLS handshake counts as
    connecting, and resolving a name too, so that nothing outlasts the deadlines.
    """

    def __init__(self, within: Deadlines) -> None:
        self._within = within
        self._idle: list[_Wire] = []
        self._closed = False

    def ask_many(self, looks: Sequence[Look]) -> Iterator[list[Answered]]:
        """See `Asker`."""
        try:
            wire = self._idle.pop()
        except IndexError:  # none yet, or another thread is asking as well
            wire = _Wire(self._within)
        try:
            with closing(wire.fetch(looks)) as fetched:
                for ended in fetched:
                    yield [(place, _answer(looks[place], outcome)) for place, outcome in ended]
        except BaseException:
            wire.close()  # whatever state it is in, and also when nobody wants the rest
            raise
        if self._closed:
            wire.close()
        else:
            self._idle.append(wire)

    def close(self) -> None:
        """Close the kept connections."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


def _answer(look: Look, outcome: Reply | NoReply | Exception) -> PollAnswer | Exception:
    if isinstance(outcome, Exception):
        return outcome
    try:
        return look.provider.answer_of(outcome, look.provider_task_id)
    except Exception as error:  # noqa: BLE001 (whoever asked says what becomes of it)
        return error


class _Transfer:
    """An easy handle, used for one poll after the other, and what has come of the present one."""

    def __init__(self, within: Deadlines) -> None:
        self.place = 0
        self.lines: list[bytes] = []
        self.pieces: list[bytes] = []
        self.size_bytes = 0
        self.moved: tuple[float, int, int] = (0.0, 0, 0)
        """When something was last seen to come, and how much had come by then."""
        self._provider: VtrixClient | None = None
        self.easy = easy = pycurl.Curl()
        connect_timeout_s, _ = within.timeouts_s
        for option, value in (
            (pycurl.CONNECTTIMEOUT_MS, max(1, round(connect_timeout_s * 1000))),
            (pycurl.NOSIGNAL, 1),  # signals are the main thread's
            (pycurl.PROXY, ""),  # none, whatever the environment says
            (pycurl.CAINFO, DEFAULT_CA_BUNDLE_PATH),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
            (pycurl.PIPEWAIT, 1),  # rather share a connection that is being made than make another
            (pycurl.HEADERFUNCTION, self.lines.append),
            (pycurl.WRITEFUNCTION, self._take),
        ):
            easy.setopt(option, value)

    def begin(self, place: int, look: Look, now: float) -> None:
        self.place, self.size_bytes, self.moved = place, 0, (now, 0, 0)
        self.lines.clear()
        self.pieces.clear()
        if self._provider is not look.provider:
            # Before the key is another's: should this fail, no poll may go out with the key of the one before.
            self._provider = None
            # No encoding is asked for, as none is by `requests`; libcurl decodes none, and so unpacks no bomb.
            headers = {**look.provider.headers(), "Accept-Encoding": "identity"}
            self.easy.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in headers.items()])
            self._provider = look.provider
        self.easy.setopt(pycurl.URL, look.provider.poll_url(look.provider_task_id))

    def stalls(self, now: float, read_timeout_s: float) -> bool:
        """Whether nothing has come for the read time-out, counted from when the request could be sent."""
        _, lines, size_bytes = self.moved
        came = len(self.lines), self.size_bytes
        if came != (lines, size_bytes) or not self.easy.getinfo(pycurl.PRETRANSFER_TIME):
            self.moved = (now, *came)
        return now - self.moved[0] >= read_timeout_s

    def reply(self) -> Reply | NoReply:
        """What a transfer brought that ended well."""
        head, body = b"".join(self.lines).lower(), b"".join(self.pieces)
        status = self.easy.getinfo(pycurl.RESPONSE_CODE)
        retry_after = self._header("retry-after") if b"retry-after" in head else None
        if b"content-encoding" in head:
            decoded = _decoded(body, self._header("content-encoding"))
            if isinstance(decoded, NoReply):
                return decoded
            body = decoded
        return Reply(status, body, retry_after)

    def failure(self, code: int) -> NoReply:
        """Why a transfer brought no whole reply, by the names that the errors of `requests` and urllib3 have."""
        if code == pycurl.E_WRITE_ERROR and self.size_bytes > MAX_ANSWER_BYTES:
            return NoReply("AnswerTooLarge")
        if code == pycurl.E_COULDNT_RESOLVE_HOST:
            return NoReply("NameNotResolved")
        if code == pycurl.E_COULDNT_CONNECT:
            refused = self.easy.getinfo(pycurl.OS_ERRNO) == errno.ECONNREFUSED
            return NoReply("ConnectionRefused" if refused else "NotConnected")
        if code == pycurl.E_OPERATION_TIMEDOUT:
            return NoReply("ReadTimeout" if self.easy.getinfo(pycurl.CONNECT_TIME) else "ConnectTimeout")
        if code in _TLS_ERRORS:
            return NoReply("SSLError")
        return NoReply("ProtocolError" if self._has_head() else "ConnectionError")

    def give_up(self) -> NoReply:
        """Why a transfer that has not ended is given up."""
        # A connection that has fallen silent may be a dead one: those who come after are to make a new one.
        self.easy.setopt(pycurl.FORBID_REUSE, 1)
        if not self.easy.getinfo(pycurl.PRETRANSFER_TIME) and not self.easy.getinfo(pycurl.CONNECT_TIME):
            return NoReply("ConnectTimeout")
        return NoReply("ReadTimeoutError" if self._has_head() else "ReadTimeout")

    def _take(self, piece: bytes) -> int | None:
        self.size_bytes += len(piece)
        if self.size_bytes > MAX_ANSWER_BYTES:
            return -1
        self.pieces.append(piece)
        return None

    def _has_head(self) -> bool:
        return b"\r\n" in self.lines

    def _header(self, name: str) -> str | None:
        """The header of the answer itself: an interim one may come before it, and trailers after it."""
        begun = max((n for n, line in enumerate(self.lines) if line.startswith(b"HTTP/")), default=0)
        values = []
        for line in self.lines[begun + 1 :]:
            if not line.strip():
                break
            found, _, value = line.decode("latin-1").partition(":")
            if found.strip().lower() == name:
                values.append(value.strip())
        return ", ".join(values) if values else None


class _Wire:
    """Connections and easy handles, used by one thread at a time."""

    def __init__(self, within: Deadlines) -> None:
        self._within = within
        self._multi = pycurl.CurlMulti()
        self._free: list[_Transfer] = []
        self._open: dict[Any, _Transfer] = {}

    def fetch(self, looks: Sequence[Look]) -> Generator[list[_Outcome], None, None]:
        """What came of each, in groups, with its place."""
        begun = time.monotonic()
        until, look_over_at, hand_over_at = begun + self._within.total_s, begun, begun + HAND_OVER_S
        try:
            outcomes = self._begin(looks, begun)
            while self._open:
                self._multi.perform()
                outcomes += self._ended()
                now = time.monotonic()
                if now >= min(look_over_at, until):
                    outcomes += self._overdue(now, until)
                    look_over_at = now + self._within.timeouts_s[1] / _CHECKS
                if self._open and now < hand_over_at:
                    self._wait()
                elif outcomes:
                    yield outcomes
                    outcomes, hand_over_at = [], time.monotonic() + HAND_OVER_S
                else:
                    hand_over_at = now + HAND_OVER_S
            if outcomes:
                yield outcomes
        finally:
            for transfer in list(self._open.values()):
                self._end(transfer, keep=False)

    def close(self) -> None:
        for transfer in self._free:
            transfer.easy.close()
        self._multi.close()

    def _begin(self, looks: Sequence[Look], now: float) -> list[_Outcome]:
        """Send all of them on their way; gives those that our own code could not send."""
        # What is kept is what a batch uses at the same time.
        self._multi.setopt(pycurl.M_MAXCONNECTS, max(len(looks), len(self._free), 1))
        failed: list[_Outcome] = []
        for place, look in enumerate(looks):
            transfer = self._free.pop() if self._free else _Transfer(self._within)
            try:
                transfer.begin(place, look, now)
            except Exception as error:  # noqa: BLE001 (whoever asked says what becomes of it)
                failed.append((place, error))
                continue
            self._multi.add_handle(transfer.easy)
            self._open[transfer.easy] = transfer
        return failed

    def _wait(self) -> None:
        timeout_ms = self._multi.timeout()
        self._multi.select(min(timeout_ms / 1000, _LONGEST_WAIT_S) if timeout_ms >= 0 else _LONGEST_WAIT_S)
        time.sleep(_TOGETHER_S)

    def _ended(self) -> Iterator[_Outcome]:
        _, well, badly = self._multi.info_read()
        for easy in well:
            transfer = self._open[easy]
            outcome = transfer.reply()
            self._end(transfer)
            yield transfer.place, outcome
        for easy, code, _ in badly:  # its text may show a URL
            transfer = self._open[easy]
            outcome = transfer.failure(code)
            self._end(transfer)
            yield transfer.place, outcome

    def _overdue(self, now: float, until: float) -> Iterator[_Outcome]:
        _, read_timeout_s = self._within.timeouts_s
        for transfer in list(self._open.values()):
            if now >= until or transfer.stalls(now, read_timeout_s):
                outcome = transfer.give_up()
                self._end(transfer, keep=False)
                yield transfer.place, outcome

    def _end(self, transfer: _Transfer, *, keep: bool = True) -> None:
        del self._open[transfer.easy]
        self._multi.remove_handle(transfer.easy)
        if keep:
            self._free.append(transfer)
        else:
            transfer.easy.close()


def _decoded(body: bytes, encoding: str | None) -> bytes | NoReply:
    """The body without its encoding, read as the other client reads it, bound and all."""
    response = urllib3.HTTPResponse(
        io.BytesIO(body), headers={"Content-Encoding": encoding or ""}, preload_content=False
    )
    try:
        plain = read_body(response)
    except TRANSPORT_ERRORS as error:
        return NoReply(type(error).__name__)
    return NoReply("AnswerTooLarge") if plain is None else plain
