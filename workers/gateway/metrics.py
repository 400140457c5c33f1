"""The route that Prometheus scrapes. It tells of all tenants and of money, so it opens to a token of its own, and to
nobody while none is set.
"""

from __future__ import annotations

import hmac
from typing import Final

from flask import Response, request
from flask_smorest import Blueprint
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from workers.gateway.desk import desk
from workers.gateway.problems import Trouble, refusals
from workers.metrics.collector import text

SCHEME: Final = "metrics"
"""The name of how a scraper says who it is, in the OpenAPI document."""

metrics = Blueprint("metrics", __name__, description="For those who watch it.")


@metrics.route("/metrics", methods=["GET"])
@metrics.doc(security=[{SCHEME: []}])
@refusals(metrics, 401, 404)
@metrics.response(
    200, {"type": "string"}, content_type="text/plain", description="Prometheus' text format, version 0.0.4."
)
def show_metrics() -> Response:
    """Tell how the whole stands: all tenants, keys and budgets, as series for Prometheus."""
    here = desk()
    token = here.options.metrics_token
    if token is None:
        raise Trouble(404, "not_found", "It opens once REELWORKS_METRICS_TOKEN is set.")
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.reveal().encode()):
        challenge = {"WWW-Authenticate": 'Bearer realm="reelworks metrics"'}
        raise Trouble(401, "unauthorized", "Send `Authorization: Bearer` and the metrics token.", headers=challenge)
    return Response(text(here.figures), content_type=CONTENT_TYPE_PLAIN_0_0_4)
