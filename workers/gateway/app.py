"""Puts the gateway's application together: its doors, its document (OpenAPI), its checks of health, its log."""

from __future__ import annotations

import time
import uuid
from importlib.metadata import version
from typing import Any, Final

import structlog
from flask import Flask, Response, g, request
from flask_smorest import Api, Blueprint
from marshmallow import Schema, fields
from marshmallow.fields import Field
from werkzeug.exceptions import HTTPException

from schemas.fields import ImageText, Metadata, StrictBool, StrictInt, StrictText, Usd
from schemas.requests import request_schema
from tasks import context
from tasks.domain.callbacks import CallbackTokens
from tasks.forms.links import Links
from tasks.ledger import LedgerError, SchemaMismatch
from tasks.ledger.migrate import check
from workers.gateway.auth import SCHEME
from workers.gateway.callbacks import callbacks
from workers.gateway.desk import Desk, GatewayOptions, put
from workers.gateway.dropin import PATHS as DROPIN_PATHS
from workers.gateway.dropin import dropin
from workers.gateway.dropin import refused as dropin_refused
from workers.gateway.metrics import SCHEME as METRICS_SCHEME
from workers.gateway.metrics import metrics
from workers.gateway.native import RetrySchema, native
from workers.gateway.problems import CONTENT_TYPE, ProblemSchema, Trouble, refusals, trouble_of
from workers.gateway.reel import pages as reel
from workers.gateway.usage import usage
from workers.gateway.webhooks import RotateSchema, webhooks
from workers.limits import GatewayLimits

log = structlog.get_logger("reelworks.gateway")

_DESCRIPTION: Final = (
    "Films from pictures, by the thousand: what was accepted is committed, is never paid for twice, and can be "
    "followed to its end. Errors are problem documents (RFC 9457); a request that breaks rules names each of them by "
    "field and code."
)


_KINDS: Final[dict[type[Field[Any]], str]] = {
    StrictInt: "integer",
    StrictBool: "boolean",
    StrictText: "string",
    ImageText: "string",
    Usd: "string",
    Metadata: "object",
}


class _ProblemApi(Api):
    """Errors are problems, in answers and in the document."""

    ERROR_SCHEMA = ProblemSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def handle_http_exception(self, error: HTTPException) -> Response:
        return _refused(error)

    def _register_responses(self) -> None:
        self.DEFAULT_RESPONSE_CONTENT_TYPE = CONTENT_TYPE  # of this object; the class keeps its own
        super()._register_responses()
        del self.DEFAULT_RESPONSE_CONTENT_TYPE


health = Blueprint("health", __name__, description="For those who run it.")


class ReadySchema(Schema):
    """What the gateway needs, and how it is."""

    database = fields.String(required=True)
    store = fields.String(required=True)


@health.route("/livez", methods=["GET"])
@health.doc(security=[])
@health.response(200, Schema)
def livez() -> Any:
    """Say that the process answers."""
    return {}


@health.route("/readyz", methods=["GET"])
@health.doc(security=[])
@refusals(health, 503)
@health.response(200, ReadySchema)
def readyz() -> Any:
    """Say whether requests can be accepted now: that takes the database and room for pictures, and not Redis."""
    ctx = context.current()
    try:
        check(ctx.ledger)
    except (LedgerError, SchemaMismatch) as error:
        raise Trouble(503, "unavailable", f"the database: {type(error).__name__}", retry_after_s=5) from None
    if not ctx.store.has_room():
        raise Trouble(503, "store_full", "the disk is all but full", retry_after_s=60)
    return {"database": "ok", "store": "ok"}


def create_app(options: GatewayOptions) -> Flask:
    """The application; its views work with `tasks.context.current()`, which whoever runs it has installed."""
    app = Flask("reelworks", static_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=options.limits.body_max_bytes,
        API_TITLE="Reelworks",
        API_VERSION=version("reelworks"),
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        API_SPEC_OPTIONS={"info": {"description": _DESCRIPTION}, "security": []},
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's own provider
    put(app.extensions, Desk(options))
    api = _ProblemApi(app)
    _document(api)
    for blueprint in (native, usage, webhooks, dropin, callbacks, metrics, health):
        api.register_blueprint(blueprint)
    reel.install(app, options)
    app.register_error_handler(Exception, _refused)
    app.before_request(_begin)
    app.after_request(_end)
    return app


def _refused(error: Exception) -> Response:
    """In the form of the door at which it happened."""
    if request.path.startswith(f"{reel.PATH}/"):
        return reel.refused(error)
    return dropin_refused(error) if request.path.startswith(DROPIN_PATHS) else trouble_of(error).response()


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    app = create_app(GatewayOptions(Links(b"", 0), CallbackTokens(b""), GatewayLimits()))
    made: dict[str, Any] = app.extensions["flask-smorest"]["apis"][""]["ext_obj"].spec.to_dict()
    return made


def _document(api: Api) -> None:
    """What of the document does not come from the views."""
    for field, kind in _KINDS.items():
        api.register_field(field, kind, None)
    api.spec.components.schema("GenerationRequest", schema=request_schema())
    api.spec.components.schema("Retry", schema=RetrySchema)
    api.spec.components.schema("Rotate", schema=RotateSchema)
    for scheme in (SCHEME, METRICS_SCHEME):
        api.spec.components.security_scheme(scheme, {"type": "http", "scheme": "bearer"})


def _begin() -> None:
    g.begun = time.monotonic()
    g.request_id = uuid.uuid4().hex


def _end(answer: Response) -> Response:
    answer.headers["Request-Id"] = g.request_id
    caller = g.get("caller")
    # The rule, not the path: a path can hold whatever somebody sends, and a link its signature.
    log.info(
        "request_answered",
        request_id=g.request_id,
        method=request.method,
        route=None if request.url_rule is None else request.url_rule.rule,
        status=answer.status_code,
        tenant=None if caller is None else caller.tenant,
        api_key=None if caller is None else caller.id,
        took_ms=round((time.monotonic() - g.begun) * 1000),
    )
    return answer
