"""The HTTP face: routes requests to the provider, to its output files and to the admin endpoints.

Owns routing and the translation of refusals. It works below Tornado's request handlers, on the plain HTTP server:
handlers cost more than all the rest of a poll.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from typing import Any, Final

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError

from . import outputs, wire
from .access import Throttled
from .bill import Bill, read_bill
from .exchange import Reply, connection_of, json_reply, send, send_reply
from .faults import FAULTS
from .provider import Provider
from .scenario import Scenario
from .validation import Refused

CREATE_PATH: Final = "/model/v1/generation"
POLL_PREFIX: Final = "/model/v1/generation/task/"
FILES_PREFIX: Final = "/files/"
ADMIN_PREFIX: Final = "/admin/"
BODY_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""Room for two pictures just under their limit, as base64."""

log = logging.getLogger("simulator")


class Face:
    """Answers requests. Polls are answered at once; all else may wait for disk, films or scripted delays."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._working: set[asyncio.Task[None]] = set()

    def server(self) -> HTTPServer:
        """An HTTP server of this face, not yet listening."""
        return HTTPServer(self.handle, max_body_size=BODY_LIMIT_BYTES, max_buffer_size=BODY_LIMIT_BYTES + 1024 * 1024)

    def handle(self, request: HTTPServerRequest) -> None:
        """The entry for each request, called by Tornado when its body is complete."""
        if request.method == "GET" and request.path.startswith(POLL_PREFIX):
            reply = self._poll(request)
            if reply is not None:
                send_reply(request, reply)
            return
        self._start(request, self._route(request))

    def _poll(self, request: HTTPServerRequest) -> Reply | None:
        """The answer to a poll, or `None` when a fault has taken the request over."""
        provider = self._provider
        provider.counts["polls"] += 1
        try:
            key = provider.access.alias(request.headers.get("Authorization"))
        except Refused as error:
            return self._refusal(error)
        task = provider.tasks.get(request.path[len(POLL_PREFIX) :])
        if task is None or task.key != key:
            return wire.refusal(404, "task not found")
        reply = provider.poll(task, request.host)
        fault = task.next_poll_fault()
        if fault is not None:
            provider.counts[f"fault.{fault}"] += 1
            self._start(request, send(request, FAULTS[fault].bend(reply)))
            return None
        return reply

    async def _route(self, request: HTTPServerRequest) -> None:
        try:
            if request.path == CREATE_PATH and request.method == "POST":
                await self._create(request)
            elif request.path.startswith(FILES_PREFIX) and request.method in ("GET", "HEAD"):
                await outputs.serve(self._provider, request)
            elif request.path.startswith(ADMIN_PREFIX):
                send_reply(request, await self._admin(request))
            else:
                send_reply(request, wire.refusal(404, "not found"))
        except Refused as error:
            send_reply(request, self._refusal(error))
        except StreamClosedError:
            return  # the client left

    async def _create(self, request: HTTPServerRequest) -> None:
        provider = self._provider
        provider.counts["creates"] += 1
        key = provider.access.alias(request.headers.get("Authorization"))
        try:
            answer = await provider.create(key, request.body, request.host)
        except Throttled as error:
            provider.counts["refused.429"] += 1
            headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
            answer = wire.refusal(429, error.message, headers=headers)
        await send(request, answer)

    def _refusal(self, error: Refused) -> Reply:
        self._provider.counts[f"refused.{error.status}"] += 1
        return wire.refusal(error.status, error.message)

    async def _admin(self, request: HTTPServerRequest) -> Reply:
        provider, name = self._provider, request.path[len(ADMIN_PREFIX) :]
        if name == "scenario" and request.method == "PUT":
            try:
                provider.scenario = Scenario(json.loads(request.body), seed=provider.options.seed)
            except (ValueError, RecursionError) as error:
                return json_reply(400, {"message": str(error)})
        elif request.method != "GET":
            return json_reply(405, {"message": "GET, and PUT on /admin/scenario"})
        if name == "scenario":
            return json_reply(200, provider.scenario.as_json())
        if name == "state":
            return json_reply(200, self._state())
        if name == "bill":
            bill = await self._bill()
            totals = {"creates": len(bill.creates), "prices": len(bill.prices), "deliveries": len(bill.deliveries)}
            return json_reply(200, {**totals, "billed_usd": str(bill.billed_usd)})
        if name == "tasks":
            return json_reply(200, {"tasks": self._tasks(await self._bill())})
        return json_reply(404, {"message": "known: /admin/scenario, /admin/state, /admin/tasks, /admin/bill"})

    async def _bill(self) -> Bill:
        return await asyncio.get_running_loop().run_in_executor(None, read_bill, self._provider.options.bill)

    def _tasks(self, bill: Bill) -> list[dict[str, object]]:
        shown: list[dict[str, object]] = []
        for line in bill.creates:
            task, cost_usd = self._provider.tasks.get(line.task), bill.usd_by_task.get(line.task)
            about = {"id": line.task, "key": line.key, "created_at": line.at.isoformat(timespec="milliseconds")}
            known = {
                "status": None if task is None else task.status,
                "rules": None if task is None else task.plan.rules,
                "fault": None if task is None else task.plan.create.fault,
            }
            paid = {"cost_usd": None if cost_usd is None else str(cost_usd), "fingerprint": line.fingerprint}
            shown.append({**about, **known, **paid})
        return shown

    def _state(self) -> dict[str, object]:
        provider = self._provider
        return {
            "speed": provider.options.speed,
            "tasks": len(provider.tasks),
            "open": dict(provider.access.open),
            "max_open": dict(provider.access.max_open),
            "counts": dict(provider.counts),
            "films": {
                "rendered": provider.films.rendered,
                "reused": provider.films.reused,
                "waiting": provider.films.waiting,
            },
        }

    def _start(self, request: HTTPServerRequest, work: Coroutine[Any, Any, None]) -> None:
        working = asyncio.create_task(work)
        self._working.add(working)
        working.add_done_callback(lambda done: self._ended(request, done))

    def _ended(self, request: HTTPServerRequest, working: asyncio.Task[None]) -> None:
        self._working.discard(working)
        if not working.cancelled() and (error := working.exception()) is not None:
            # Our own mistake, never a scripted fault: said loudly, and the client is not left hanging.
            log.error("request_broke method=%s error=%r", request.method, error, exc_info=error)
            connection_of(request).close()

    async def close(self) -> None:
        """Drops all requests still being answered."""
        for working in list(self._working):
            working.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
