"""What a tenant was charged, as JSON or, for those who keep books, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from flask import Response, request
from flask_smorest import Blueprint
from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from tasks.domain.api_keys import Scope
from tasks.ledger import reports
from tasks.ledger.reports import CostRow
from workers.gateway.auth import allowed, caller
from workers.gateway.bodies import UsageSchema
from workers.gateway.desk import desk

usage = Blueprint("usage", __name__, url_prefix="/v1", description="What was charged.")

_KINDS: Final = ("day", "model", "key")
_COLUMNS: Final = ("name", "charges", "amount_usd", "estimated_usd")


class UsageQuery(Schema):
    """Which charges, and in which form."""

    since = fields.Date(load_default=None, metadata={"description": "First day (UTC)."})
    until = fields.Date(load_default=None, metadata={"description": "Last day (UTC)."})
    by = fields.String(
        load_default="day", validate=validate.OneOf(_KINDS), metadata={"description": "The rows of the CSV form."}
    )

    @validates_schema
    def _has_days(self, query: Mapping[str, Any], **_: Any) -> None:
        if query["since"] and query["until"] and query["until"] < query["since"]:
            raise ValidationError("Must not be before since.", "until")


@usage.route("/usage", methods=["GET"])
@allowed(usage, Scope.READ)
@usage.arguments(UsageQuery, location="query", unknown=RAISE)
@usage.alt_response(
    200, schema={"type": "string"}, content_type="text/csv", success=True, description="With `Accept: text/csv`."
)
@usage.response(200, UsageSchema)
def show_usage(query: Mapping[str, Any]) -> Any:
    """Sum up what was charged, exact to the last digit."""
    begin, end = _midnight(query["since"]), _midnight(query["until"], days=1)
    with desk().ctx.ledger.read() as tx:
        sums = reports.costs(tx, since=begin, until=end, tenant=caller().tenant)
    if request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv":
        return _csv(sums[query["by"]])
    return {**{f"by_{kind}": sums[kind] for kind in _KINDS}, "total": sums["total"][0]}


def _midnight(day: date | None, days: int = 0) -> datetime | None:
    try:
        return None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=days)
    except OverflowError:  # the day after the last there is
        return None


def _csv(rows: Sequence[CostRow]) -> Response:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([row.name, row.charges, f"{row.amount_usd:f}", f"{row.estimated_usd:f}"])
    return Response(text.getvalue(), content_type="text/csv; charset=utf-8")
