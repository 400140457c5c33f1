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
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Final

import pycurl
import urllib3
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from tasks.transport import TRANSPORT_ERRORS, Deadlines
from tasks.vtrix.asking import HAND_OVER_S, Answer, L, Look, Timed, untimed
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
_ROOM: Final = 4
"""More is asked for when a fourth of what may be under way is free: a claim costs as much as several looks."""
_ROOM_S: Final = 0.05
"""Or after so long, where there is any room: those that are long in coming may take up the rest."""
_Outcome = tuple[Any, Reply | NoReply | Exception]
"""Of a look, whatever else its caller has made of it."""


class CurlAsker:
    """Asks as many at once as it is given, each over a connection of its own unless they share one by HTTP/2.

    Safe to use from many threads; build it after the fork. `within` bounds each poll. A TLS handshake counts as
    connecting, and resolving a name too, so that nothing outlasts the deadlines. `timed` hears how long each poll took.
    """

    def __init__(self, within: Deadlines, timed: Timed = untimed) -> None:
        self._within, self._timed = within, timed
        self._idle: list[_Wire] = []
        self._closed = False

    def ask_many(self, more: Callable[[int], Sequence[L]], at_once: int) -> Iterator[list[tuple[L, Answer]]]:
        """See `Asker`."""
        try:
            wire = self._idle.pop()
        except IndexError:  # none yet, or another thread is asking as well
            wire = _Wire(self._within)
        try:
            with closing(wire.fetch(more, at_once)) as fetched:
                for ended in fetched:
                    self._timed(wire.took_s)
                    wire.took_s.clear()
                    yield [(look, _answer(look, outcome)) for look, outcome in ended]
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


def _answer(look: Look, outcome: Reply | NoReply | Exception) -> Answer:
    if isinstance(outcome, Exception):
        return outcome
    try:
        return look.provider.answer_of(outcome, look.provider_task_id)
    except Exception as error:  # noqa: BLE001 (whoever asked says what becomes of it)
        return error


class _Transfer:
    """An easy handle, used for one poll after the other, and what has come of the present one."""

    def __init__(self, within: Deadlines) -> None:
        self._within = within
        self.look: Look
        self.until = 0.0
        """When it has taken the longest that it may."""
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
            (pycurl.HEADERFUNCTION, self.lines.append),
            (pycurl.WRITEFUNCTION, self._take),
        ):
            easy.setopt(option, value)

    def begin(self, look: Look, now: float) -> None:
        self.look, self.until = look, now + self._within.total_s
        self.size_bytes, self.moved = 0, (now, 0, 0)
        self.lines.clear()
        self.pieces.clear()
        if self._provider is not look.provider:
            # Before the key is another's: should this fail, no poll may go out with the key of the one before.
            self._provider = None
            # No encoding is asked for, as none is by `requests`; libcurl decodes none, and so unpacks no bomb.
            headers = {**look.provider.headers(), "Accept-Encoding": "identity"}
            self.easy.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in headers.items()])
            self._provider = look.provider
        url = look.provider.poll_url(look.provider_task_id)
        # Rather share a connection whose handshake is under way than make another. Without TLS there is nothing to
        # share, and libcurl would wait for the first answer to find that out.
        self.easy.setopt(pycurl.PIPEWAIT, int(url.startswith("https:")))
        self.easy.setopt(pycurl.URL, url)

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
        self.took_s: list[float] = []
        """How long each took that has ended since this was cleared."""
        self._multi = pycurl.CurlMulti()
        self._free: list[_Transfer] = []
        self._open: dict[Any, _Transfer] = {}

    def fetch(self, more: Callable[[int], Sequence[L]], at_once: int) -> Generator[list[_Outcome], None, None]:
        """What came of each, in groups."""
        # What is kept is what is used at the same time.
        self._multi.setopt(pycurl.M_MAXCONNECTS, max(at_once, len(self._free)))
        outcomes: list[_Outcome] = []
        more_at = look_over_at = 0.0
        hand_over_at = time.monotonic() + HAND_OVER_S
        try:
            while True:
                now = time.monotonic()
                room = at_once - len(self._open)
                if room * _ROOM >= at_once or (room and now >= more_at):
                    outcomes += self._begin(more(room), now)
                    more_at = now + _ROOM_S
                self._multi.perform()
                outcomes += self._ended()
                now = time.monotonic()
                if now >= look_over_at:
                    outcomes += self._overdue(now)
                    soon = now + self._within.timeouts_s[1] / _CHECKS
                    look_over_at = min(soon, *(each.until for each in self._open.values()), soon)
                if self._open and now < hand_over_at and len(outcomes) * 2 < at_once:
                    self._wait()
                elif self._open or outcomes:
                    yield outcomes
                    outcomes, hand_over_at = [], time.monotonic() + HAND_OVER_S
                else:
                    return
        finally:
            for transfer in list(self._open.values()):
                self._end(transfer, keep=False)

    def close(self) -> None:
        for transfer in self._free:
            transfer.easy.close()
        self._multi.close()

    def _begin(self, looks: Sequence[Look], now: float) -> list[_Outcome]:
        """Send all of them on their way; gives those that our own code could not send."""
        failed: list[_Outcome] = []
        for look in looks:
            transfer = self._free.pop() if self._free else _Transfer(self._within)
            try:
                transfer.begin(look, now)
            except Exception as error:  # noqa: BLE001 (whoever asked says what becomes of it)
                failed.append((look, error))
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
            yield transfer.look, outcome
        for easy, code, _ in badly:  # its text may show a URL
            transfer = self._open[easy]
            outcome = transfer.failure(code)
            self._end(transfer)
            yield transfer.look, outcome

    def _overdue(self, now: float) -> Iterator[_Outcome]:
        _, read_timeout_s = self._within.timeouts_s
        for transfer in list(self._open.values()):
            if now >= transfer.until or transfer.stalls(now, read_timeout_s):
                outcome = transfer.give_up()
                self._end(transfer, keep=False)
                yield transfer.look, outcome

    def _end(self, transfer: _Transfer, *, keep: bool = True) -> None:
        del self._open[transfer.easy]
        self.took_s.append(transfer.easy.getinfo(pycurl.TOTAL_TIME))
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
