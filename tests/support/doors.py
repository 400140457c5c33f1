"""The gateway's application within a test's own process, and short ways to knock at its doors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask.testing import FlaskClient
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import TestResponse

from tasks.domain.api_keys import ApiKey, Scope
from tasks.domain.callbacks import CallbackTokens
from tasks.forms.links import Links
from tasks.ledger import Ledger
from tasks.ledger.api_keys import add_api_key
from workers.credentials import Secret
from workers.gateway import keytext
from workers.gateway.app import create_app
from workers.gateway.desk import GatewayOptions
from workers.limits import GatewayLimits

SIGNS = b"what links are signed with in tests"
TOKENS = CallbackTokens(SIGNS)
EVERYDAY = (Scope.SUBMIT, Scope.READ)


@dataclass(frozen=True)
class Door:
    """A caller of the gateway, with a key or without."""

    client: FlaskClient
    key: str | None = None

    def ask(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> TestResponse:
        given = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        options = {"buffered": True, **options}  # read to its end and closed, unless a test wants to follow it
        return self.client.open(path, method=method, headers={**given, **(headers or {})}, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.ask("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> TestResponse:
        return self.ask("POST", path, **({} if body is None else {"json": body}), **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        return self.ask("DELETE", path, **options)


def client(
    limits: GatewayLimits | None = None, public_url: str | None = None, metrics_token: str | None = None
) -> FlaskClient:
    """A client of a new application, which works with the context that is installed."""
    options = GatewayOptions(
        Links(SIGNS, ttl_s=600), TOKENS, limits or GatewayLimits(), public_url, metrics_token and Secret(metrics_token)
    )
    app = create_app(options)
    app.testing = False  # errors are answers, as in production
    return app.test_client()


def new_key(
    ledger: Ledger, tenant: str = "film", scopes: tuple[Scope, ...] = EVERYDAY, ends_in_s: float | None = None
) -> str:
    """The text of a new key."""
    made = keytext.mint()
    with ledger.begin() as tx:
        ends_at = None if ends_in_s is None else tx.now + timedelta(seconds=ends_in_s)
        add_api_key(tx, ApiKey(made.id, tenant, "", frozenset(scopes), tx.now, ends_at), made.hash())
    return made.reveal()


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        return


@contextmanager
def listening(limits: GatewayLimits | None = None) -> Iterator[int]:
    """A new application as in `client`, on a port of its own."""
    server = make_server("127.0.0.1", 0, client(limits).application, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()
