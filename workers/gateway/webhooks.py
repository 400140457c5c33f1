"""A caller's own webhooks: what was sent and what became of it, sending again, and what they are signed with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask_smorest import Blueprint
from marshmallow import RAISE, Schema, fields, validate

from schemas.errors import Problem, RequestInvalid
from tasks.domain.api_keys import Scope
from tasks.forms.job import Utc
from tasks.ledger.deliveries import Delivery, Fate, replay
from tasks.ledger.delivery_reports import page_of
from tasks.ledger.webhook_secrets import WebhookSecret, make_first, rotate, secrets_of
from workers.gateway.auth import allowed, caller
from workers.gateway.cursors import cursor_at, place_of
from workers.gateway.desk import desk
from workers.gateway.problems import Trouble, refusals
from workers.gateway.reading import object_body

webhooks = Blueprint("webhooks", __name__, url_prefix="/v1/webhooks", description="How callers are told.")

OVERLAP_S: Final = 86_400.0
"""For how long the secret before goes on signing, if nothing else is said."""
_OVERLAP_MOST_S: Final = 30 * 86_400.0
_FATES: Final = [each.value for each in Fate]


class MessageSchema(Schema):
    """A webhook."""

    id = fields.String(required=True, metadata={"description": "Its `webhook-id`, the same for every try."})
    job_id = fields.String(required=True)
    type = fields.String(required=True, metadata={"description": "`job.` and the state that began."})
    at = Utc(required=True, metadata={"description": "When it happened."})
    state = fields.String(required=True, validate=validate.OneOf(_FATES))
    tries = fields.Integer(required=True)
    due_at = Utc(required=True, allow_none=True, metadata={"description": "When it is tried next."})
    delivered_at = Utc(required=True, allow_none=True)
    error = fields.String(
        required=True, allow_none=True, metadata={"description": "What became of the last try that failed."}
    )


class MessagesSchema(Schema):
    """A page of webhooks, the latest event first."""

    webhooks = fields.List(fields.Nested(MessageSchema), required=True)
    next_cursor = fields.String(
        required=True, allow_none=True, metadata={"description": "Names the next page; null: this was the last."}
    )


class MessagesQuery(Schema):
    """Which webhooks."""

    state = fields.String(load_default=None, validate=validate.OneOf(_FATES))
    job_id = fields.String(load_default=None)
    cursor = fields.String(load_default=None, metadata={"description": "`next_cursor` of the page before."})
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 200))


class SecretSchema(Schema):
    """What messages are signed with, as libraries of Standard Webhooks take it."""

    secret = fields.String(required=True)
    created_at = Utc(required=True)
    ends_at = Utc(required=True, allow_none=True, metadata={"description": "It signs no longer than until then."})


class SecretsSchema(Schema):
    """All that sign now, the newest first."""

    secrets = fields.List(fields.Nested(SecretSchema), required=True)


class RotateSchema(Schema):
    """How a new secret takes the old one's place."""

    overlap_s = fields.Float(
        validate=validate.Range(0, _OVERLAP_MOST_S),
        metadata={"description": f"So many seconds the old one goes on signing; {OVERLAP_S:.0f} if nothing is said."},
    )


@webhooks.route("", methods=["GET"])
@allowed(webhooks, Scope.READ)
@webhooks.arguments(MessagesQuery, location="query", unknown=RAISE)
@webhooks.response(200, MessagesSchema)
def list_messages(query: Mapping[str, Any]) -> Any:
    """List webhooks, the latest event first."""
    fate = None if query["state"] is None else Fate(query["state"])
    asked = {"tenant": caller().tenant, "fate": fate, "job_id": query["job_id"]}
    with desk().ctx.ledger.read() as tx:
        page = page_of(tx, **asked, before=place_of(query["cursor"]), limit=query["limit"] + 1)
    shown = page[: query["limit"]]
    more = cursor_at(shown[-1].at, shown[-1].id) if len(page) > len(shown) else None
    return {"webhooks": [_body(each) for each in shown], "next_cursor": more}


def _body(message: Delivery) -> dict[str, Any]:
    return {
        "id": message.id,
        "job_id": message.job_id,
        "type": f"job.{message.event}",
        "at": message.at,
        "state": message.fate,
        "tries": message.tries,
        "due_at": message.due_at,
        "delivered_at": message.delivered_at,
        "error": message.last_error,
    }


@webhooks.route("/<message_id>/replay", methods=["POST"])
@allowed(webhooks, Scope.SUBMIT)
@refusals(webhooks, 404)
@webhooks.response(202, Schema, description="It is due now.")
def send_again(message_id: str) -> Any:
    """Have a webhook sent again, whatever became of it, and its receiver tried at once."""
    with desk().ctx.ledger.begin("webhooks.replay") as tx:
        if not replay(tx, [message_id], caller().tenant):
            raise Trouble(404, "not_found", "There is no such webhook.")
    return {}


@webhooks.route("/secrets", methods=["GET"])
@allowed(webhooks, Scope.ADMIN)
@webhooks.response(200, SecretsSchema)
def show_secrets() -> Any:
    """Show what webhooks are signed with. The first secret is made when somebody asks for it, or something is sent."""
    here, tenant = desk(), caller().tenant
    with here.ctx.ledger.read() as tx:
        found = secrets_of(tx, tenant)
    if not found:
        with here.ctx.ledger.begin("notify.secret") as tx:
            found = make_first(tx, tenant)
    return _secrets(found)


@webhooks.route("/secrets", methods=["POST"])
@allowed(webhooks, Scope.ADMIN)
@webhooks.doc(
    requestBody={
        "required": False,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Rotate"}}},
    }
)
@refusals(webhooks, 400, 413, 415, 422)
@webhooks.response(201, SecretsSchema)
def rotate_secrets() -> Any:
    """Make a new secret; the one before goes on signing for a while, so that receivers have time to learn it."""
    overlap_s = object_body("overlap_s").get("overlap_s", OVERLAP_S)
    if isinstance(overlap_s, bool) or not isinstance(overlap_s, int | float) or not 0 <= overlap_s <= _OVERLAP_MOST_S:
        sentence = f"must be a number of seconds from 0 to {_OVERLAP_MOST_S:.0f}"
        raise RequestInvalid([Problem("overlap_s", "out_of_range", sentence)])
    with desk().ctx.ledger.begin("webhooks.rotate") as tx:
        return _secrets(rotate(tx, caller().tenant, float(overlap_s)))


def _secrets(found: list[WebhookSecret]) -> dict[str, Any]:
    listed = [{"secret": each.text, "created_at": each.created_at, "ends_at": each.ends_at} for each in found]
    return {"secrets": listed}
