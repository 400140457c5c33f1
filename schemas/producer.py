"""The producer: checks a request, stores its pictures, and puts it on the stream from which workers accept jobs.

Owns the promise that nothing is submitted twice behind the caller's back: no command is ever repeated by itself.
Refuses to wait for workers: a submission needs Redis alone, and every step of it has a time-out.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from importlib.resources import files
from itertools import takewhile
from types import TracebackType
from typing import Any, Final, Self

import redis

from . import keys
from .errors import IdempotencyConflict, NotSubmitted, Problem, RequestInvalid
from .exchange import Deadlines
from .gateway import Gateway
from .handle import Handle
from .images import MAX_BYTES, ImageBytes
from .jobs import JobView, State
from .redisaddress import sentinels_of
from .redisclient import client
from .requests import GenerationRequest, job_id_of, parse_request
from .submission import Entry, arguments, distinct, in_doubt, reported
from .tracing import submitting

_Command = tuple[str | int, ...]
_Connection = Any  # redis-py does not annotate what is called of it
_Handles = list[Handle]  # within the class `list` is a method
ENTRY_FORM: Final = "1"
"""The form of a stream entry, so that workers of the next release can tell it from theirs."""
WEEK_S: Final = 7 * 24 * 3600
BATCH: Final = 200
"""Requests that are submitted in one atomic step."""
QUIET_S: Final = 1.0
"""A Redis that was not heard for so long is asked for a sign of life before it is sent anything of weight."""

_SCRIPT: Final = files(__name__.rpartition(".")[0]).joinpath("submit.lua").read_text("utf-8")
_SCRIPT_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()  # as Redis names it


class Producer:
    """Submits requests over one pooled connection; safe to share between threads, and to keep for a process's life.

    `timeout_s` bounds connecting and each exchange with Redis. `input_max_bytes` is the largest picture that is stored
    in Redis (a larger one has to be given as a URL). Pictures and idempotency keys are kept for `input_ttl_s` and
    `idempotency_ttl_s`.

    Every wait (`Handle.get`, `Handle.events`) holds a connection of its own while it lasts, and every other call takes
    one for an exchange. `max_connections` bounds them all: beyond it a call fares as if Redis were away. Redis
    has a bound of its own (`maxclients`, 10,000 unless set), and the process one of open files.

    What is not in Redis, lists of jobs and their films, is asked of the HTTP gateway at `gateway_url`, with `api_key`,
    within `gateway_deadlines`. Whatever of the three addresses and keys is not given is taken from the environment:
    `REELWORKS_REDIS_URL`, `REELWORKS_GATEWAY_URL`, `REELWORKS_API_KEY`. Raises `ValueError` for an address or a key
    that can be none, and without any address of Redis; nobody is asked before the first call.
    """

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        gateway_url: str | None = None,
        api_key: str | None = None,
        gateway_deadlines: Deadlines | None = None,
        timeout_s: float = 3.0,
        input_max_bytes: int = MAX_BYTES,
        input_ttl_s: int = WEEK_S,
        idempotency_ttl_s: int = WEEK_S,
        max_connections: int = 10_000,
    ) -> None:
        redis_url = redis_address(redis_url)
        self._gateway = Gateway(
            gateway_url or _variable("REELWORKS_GATEWAY_URL"),
            api_key or _variable("REELWORKS_API_KEY"),
            gateway_deadlines,
        )
        self._input_max_bytes, self._input_ttl_s = input_max_bytes, input_ttl_s
        self._idempotency_ttl_s = idempotency_ttl_s
        # Said, not left to the default: 100 would be the number of jobs that a process can wait for at once.
        self._redis = client(redis_url, timeout_s, max_connections=max_connections)
        place = sentinels_of(redis_url)
        self._replicas, self._replicas_ms = place.replicas if place else 0, int(timeout_s * 500)
        self._heard_s = -QUIET_S

    def submit(self, *, traceparent: str | None = None, **request: Any) -> Handle:
        """Submits one request, given by its fields, and returns the handle of its job: in one exchange with Redis, if
        it has no picture to store and Redis was heard lately.

        The same idempotency key gives the same job. `traceparent`: of the span whose child the job's is to be; by
        default the one at work here, where the program uses OpenTelemetry. Raises `RequestInvalid` (with all
        problems), `IdempotencyConflict`, `NotSubmitted`.
        """
        return self._submit([self._parse(request)], traceparent)[0]

    def submit_many(self, requests: Iterable[Mapping[str, Any]], *, traceparent: str | None = None) -> _Handles:
        """Submits many requests in few exchanges with Redis; the handles come in the order of the requests.

        Nothing is submitted when one of them is invalid (`RequestInvalid`; its fields begin with the request's index).
        Each 200 are one atomic step and one exchange. When a later step fails (`IdempotencyConflict`, `NotSubmitted`),
        earlier ones stand, and the error says which: its `submitted` are the jobs of the first requests, its `job_ids`
        the jobs in doubt after them. With idempotency keys the whole can simply be repeated. `traceparent`: as of
        `submit`, of all of them.
        """
        parsed, problems = [], []
        for index, raw in enumerate(requests):
            try:
                parsed.append(self._parse(raw))
            except RequestInvalid as error:
                problems += [Problem(f"{index}.{p.field}", p.code, p.message) for p in error.problems]
        if problems:
            raise RequestInvalid(problems)
        return self._submit(parsed, traceparent)

    def estimate(self, **request: Any) -> Decimal:
        """What the film of a request would cost by the price list, in USD. Nothing is submitted, and nobody asked.

        Raises `RequestInvalid`.
        """
        entry, _ = self._parse(request)
        return entry.request.estimate_usd()

    def list(
        self,
        *,
        state: State | str | Iterable[State | str] = (),
        batch_id: str | None = None,
        limit: int | None = None,
    ) -> Iterator[JobView]:
        """The jobs of the API key's tenant, the latest first, asked for page by page as they are iterated.

        `state`: one or several, any by default; `batch_id`: of those that were posted to the gateway together; `limit`:
        so many jobs at most. Raises `GatewayRefused`, `GatewayAway`, `RequestInvalid`, and `ValueError` for a word that
        is no state.
        """
        for page in self._gateway.pages(_states(state), batch_id, limit):
            yield from page

    def handle(self, job_id: str) -> Handle:
        """The handle of a job by its id; no question is asked until it is used."""
        return Handle(self._redis, job_id, gateway=self._gateway)

    def close(self) -> None:
        """Closes the connections. To use the producer or its handles again would open new ones, which nobody closes."""
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _parse(self, raw: Mapping[str, Any]) -> tuple[Entry, dict[str, bytes]]:
        given = parse_request(raw)
        request, blobs = given.detached()
        if any(len(data) > self._input_max_bytes for data in blobs.values()):
            raise RequestInvalid(self._too_large(given))
        fingerprint = "" if request.idempotency_key is None else request.fingerprint()
        return Entry(job_id_of(request), request, fingerprint), blobs

    def _too_large(self, request: GenerationRequest) -> Sequence[Problem]:
        sentence = f"at most {self._input_max_bytes:,} bytes are stored: give a URL"
        return [
            Problem(name, "image_too_large_to_store", sentence)
            for name in ("first_frame_image", "last_frame_image")
            if isinstance(image := getattr(request, name), ImageBytes) and len(image.data) > self._input_max_bytes
        ]

    def _submit(self, parsed: Sequence[tuple[Entry, dict[str, bytes]]], given: str | None) -> _Handles:
        once_each = distinct(entry for entry, _ in parsed)
        stored: set[str] = set()
        with submitting(given, len(once_each)) as traceparent:
            with reported():
                self._store({sha256: data for _, blobs in parsed for sha256, data in blobs.items()})
            try:
                self._add(once_each, stored, traceparent or "")
            except (IdempotencyConflict, NotSubmitted) as error:
                error.submitted = tuple(takewhile(stored.__contains__, (entry.job_id for entry, _ in parsed)))
                raise
        return [Handle(self._redis, entry.job_id, entry.request.warnings, self._gateway) for entry, _ in parsed]

    def _add(self, entries: Sequence[Entry], stored: set[str], traceparent: str) -> None:
        """Adds entries to the stream, batch by batch; the jobs of each batch are in `stored` once it is confirmed.

        The connection is taken by hand, so that what fails before anything is sent leaves nobody in doubt.
        """
        batches = (entries[start : start + BATCH] for start in range(0, len(entries), BATCH))
        commands = ((batch, self._command(batch, traceparent)) for batch in batches)
        with reported():
            connection: _Connection = self._redis.connection_pool.get_connection()
        try:
            following = next(commands, None)
            while following is not None:
                batch, command = following
                with reported(batch):
                    connection.send_command(*command)
                following = next(commands, None)  # is put together while Redis works
                self._confirm(connection, batch, command)
                stored.update(entry.job_id for entry in batch)
        finally:
            self._redis.connection_pool.release(connection)

    def _command(self, batch: Sequence[Entry], traceparent: str) -> _Command:
        names = (keys.REQUESTS, *(entry.idempotency or keys.REQUESTS for entry in batch))
        common = (ENTRY_FORM, self._idempotency_ttl_s, traceparent)
        return ("EVALSHA", _SCRIPT_SHA, len(names), *names, *common, *arguments(batch))

    def _confirm(self, connection: _Connection, batch: Sequence[Entry], command: _Command) -> None:
        with reported(batch):
            try:
                refused = _hear(connection)
            except redis.exceptions.NoScriptError:  # it is new to Redis, or was forgotten at a restart
                _ask(connection, "SCRIPT", "LOAD", _SCRIPT)
                refused = _ask(connection, *command)
        self._heard_s = time.monotonic()
        if refused:
            raise IdempotencyConflict(batch[int(refused) - 1].job_id)
        if self._replicas:
            self._spread(connection, batch)

    def _spread(self, connection: _Connection, batch: Sequence[Entry]) -> None:
        """Waits until as many replicas as the address asks for have what was stored: a failover may take any of them.

        A repetition has written nothing, and Redis waits for what its connection wrote: so a record is written again as
        it stands, which comes after all that was stored before.
        """
        keyed = next((entry for entry in batch if entry.idempotency), None)
        try:
            if keyed is not None:
                _ask(connection, "SET", str(keyed.idempotency), keyed.fingerprint, "XX", "KEEPTTL")
            found = int(_ask(connection, "WAIT", self._replicas, self._replicas_ms))
        except redis.RedisError as error:  # whatever it is: the entries are in the stream
            raise in_doubt(type(error).__name__, batch) from error
        if found < self._replicas:
            raise in_doubt(f"{found} of {self._replicas} replicas have it", batch)

    def _store(self, blobs: Mapping[str, bytes]) -> None:
        """Stores what is not there yet; what is there lives on as if it were new, and is not sent again."""
        if not blobs:
            # An exchange that costs nothing when it fails: a Redis that is away is met here, before the step after
            # which a missing answer would leave the caller in doubt. Not before each of many: it takes as long as that.
            if time.monotonic() - self._heard_s >= QUIET_S:
                self._redis.ping()
            return
        pipeline = self._redis.pipeline(transaction=False)
        for sha256 in blobs:
            pipeline.expire(keys.input_blob(sha256), self._input_ttl_s)
        for (sha256, data), there in zip(blobs.items(), pipeline.execute(), strict=True):
            if not there:
                self._redis.set(keys.input_blob(sha256), data, ex=self._input_ttl_s)


def _ask(connection: _Connection, *command: str | int) -> Any:
    connection.send_command(*command)
    return _hear(connection)


def _hear(connection: _Connection) -> Any:
    # Said, because the default differs by the kind of connection: one whose answer is late is not used again, or it
    # would be the answer to the next question.
    return connection.read_response(disconnect_on_error=True)


def redis_address(given: str | None) -> str:
    """What was given, or stands in the environment. Raises `ValueError` without either."""
    address = given or _variable("REELWORKS_REDIS_URL")
    if address is None:
        raise ValueError("give Producer the redis_url=..., or set REELWORKS_REDIS_URL")
    return address


def _states(given: State | str | Iterable[State | str]) -> tuple[State, ...]:
    return tuple(map(State, (given,) if isinstance(given, str) else given))


def _variable(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None
